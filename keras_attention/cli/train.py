"""`keras-attention train`: two files in, a translator out."""

import argparse
from pathlib import Path

from keras_attention.cli.options import positive, share, whole
from keras_attention.folders import check_replaceable


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "train",
        help="train a translator on two files",
        description="Trains a translator on line-aligned files, or on one file with tabs.",
        epilog="Ctrl-C leaves the best model so far in --output; the same command again goes on "
        "from the last whole epoch. Example: keras-attention train --source train.en "
        "--target train.de --valid-source val.en --valid-target val.de --output models/en-de",
    )
    data = command.add_argument_group("data")
    for name, required, text in (
        ("--source", True, "sentences, one a line (.gz allowed)"),
        ("--target", False, "their translations; without it --source has tabs"),
        ("--valid-source", True, "as --source; scored after each epoch, a few hundred are enough"),
        ("--valid-target", False, "as --target"),
    ):
        data.add_argument(name, required=required, metavar="FILE", help=text)
    data.add_argument(
        "--output", required=True, type=Path, metavar="FOLDER", help="gets the model; a new folder"
    )
    data.add_argument(
        "--tokenizer",
        choices=["bpe", "unigram", "wordpiece", "characters"],
        default="bpe",
        help="bpe and unigram are SentencePiece's [%(default)s]",
    )
    _number(data, "--vocabulary", whole, 8000, "tokens on each side; not for characters")
    data.add_argument("--lowercase", action="store_true", help="lower-case both sides")
    data.add_argument(
        "--normalization", choices=["NFC", "NFKC"], default="NFC", help="Unicode's [%(default)s]"
    )
    _number(data, "--max-length", whole, 100, "tokens; longer texts are cut")
    model = command.add_argument_group("model")
    model.add_argument(
        "--start-from",
        type=Path,
        metavar="FOLDER",
        help="go on from a trained model: its tokenizers, sizes and weights count",
    )
    model.add_argument(
        "--attention",
        choices=["bahdanau", "luong", "fixed", "none"],
        default="bahdanau",
        help="fixed: the same context at every step; none: the encoder's last state "
        "alone [%(default)s]",
    )
    model.add_argument(
        "--cell", choices=["gru", "lstm"], default="gru", help="of both sides [%(default)s]"
    )
    _number(model, "--units", whole, 256, "width of the cells")
    _number(model, "--embedding", whole, 256, "width of the embeddings")
    _number(model, "--encoder-layers", whole, 1, "bidirectional layers that read")
    _number(model, "--decoder-layers", whole, 1, "layers that write")
    _number(model, "--dropout", share, 0.3, "of embeddings and outputs")
    model.add_argument("--input-feeding", action="store_true", help="feed the last attention back")
    model.add_argument("--tie-embeddings", action="store_true", help="with the output layer")
    training = command.add_argument_group("training")
    _number(training, "--epochs", whole, 20, "passes over the data")
    _number(training, "--batch-size", whole, 64, "sentences at once")
    _number(training, "--learning-rate", positive, 1e-3, "Adam's highest")
    _number(training, "--label-smoothing", share, 0.1, "of the loss")
    training.add_argument(
        "--patience", type=whole, metavar="N", help="epochs without a better BLEU, then stop"
    )
    training.add_argument(
        "--bleu-tokenize",
        default="13a",
        metavar="NAME",
        help="sacrebleu's tokenizer; 'none' for tokenized text [%(default)s]",
    )
    training.add_argument(
        "--jit", action="store_true", help="compile with XLA: faster, also on CPU"
    )
    training.add_argument("--seed", type=int, default=0, metavar="N", help="[%(default)s]")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Trains a translator as the options say."""
    import keras

    from keras_attention.metrics import bleu
    from keras_attention.tasks.fit import fit, unfinished
    from keras_attention.text import read_parallel

    if (options.output / "task.json").is_file() and not unfinished(options.output).is_dir():
        raise ValueError(
            "--output: expected a new folder, or one whose training was stopped. "
            f"Received: {str(options.output)!r}, which holds a trained model"
        )
    check_replaceable(options.output, "task.json")
    bleu(["one"], ["one"], options.bleu_tokenize)  # a wrong name is told before the work
    keras.utils.set_random_seed(options.seed)
    pairs = _read(read_parallel, options.source, options.target)
    validation = _read(read_parallel, options.valid_source, options.valid_target)
    task = _begin(options, pairs)
    source, target = task.source_tokenizer.vocabulary_size, task.target_tokenizer.vocabulary_size
    print(
        f"{len(pairs)} pairs; {source} and {target} tokens; "
        f"{task.model.count_params():,} parameters"
    )
    try:
        fit(
            task,
            pairs,
            validation,
            options.output,
            epochs=options.epochs,
            batch_size=options.batch_size,
            max_length=options.max_length,
            learning_rate=options.learning_rate,
            label_smoothing=options.label_smoothing,
            patience=options.patience,
            seed=options.seed,
            jit_compile=options.jit or "auto",
            metric=lambda hypotheses, references: (
                bleu(hypotheses, references, tokenize=options.bleu_tokenize).score
            ),
        )
    except KeyboardInterrupt:
        scored = (options.output / "training.json").is_file()
        raise KeyboardInterrupt(
            f". {options.output} holds the {'best model so far' if scored else 'model as it was'}. "
            f"The same command {'goes on from the last whole epoch' if scored else 'begins anew'}."
        ) from None
    print(f"The best model is in {options.output}. Try: keras-attention generate {options.output}")


def _number(group, name, type, default, help):
    group.add_argument(name, type=type, default=default, metavar="N", help=f"{help} [%(default)s]")


def _begin(options, pairs):
    """The task to train: a new one, or what `--start-from` holds."""
    from keras_attention.generation import Greedy
    from keras_attention.models import seq2seq
    from keras_attention.tasks import Translator

    strategy = Greedy(options.max_length)
    if options.start_from:
        return Translator.load(options.start_from, strategy)
    tokenizers = [_learn_tokenizer(options, list(side)) for side in zip(*pairs, strict=True)]
    model = seq2seq(
        *(tokenizer.vocabulary_size for tokenizer in tokenizers),
        embedding_dim=options.embedding,
        units=options.units,
        cell=options.cell,
        encoder_layers=options.encoder_layers,
        decoder_layers=options.decoder_layers,
        attention=None if options.attention == "none" else options.attention,
        input_feeding=options.input_feeding,
        dropout=options.dropout,
        tie_embeddings=options.tie_embeddings,
    )
    return Translator(model, *tokenizers, strategy, options.max_length)


def _read(read_parallel, source, target):
    pairs = read_parallel(source, target)
    if not pairs:
        raise ValueError(f"Expected a file with at least one line. Received: {source!r}, empty")
    return pairs


def _learn_tokenizer(options, lines):
    from keras_attention.text import Characters, SentencePiece, WordPiece

    shared = {"lowercase": options.lowercase, "normalization": options.normalization}
    if options.tokenizer == "characters":
        return Characters.train(lines, **shared)
    if options.tokenizer == "wordpiece":
        return WordPiece.train(lines, options.vocabulary, **shared)
    return SentencePiece.train(lines, options.vocabulary, model_type=options.tokenizer, **shared)
