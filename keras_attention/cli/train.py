"""`keras-attention train`: two files in, a translator out."""

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "train",
        help="train a translator on two files",
        description="Trains a translator on line-aligned files, or on one file with tabs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="Ctrl-C leaves the best model so far in --output; the same command again goes on "
        "from the last whole epoch. Example: keras-attention train --source train.en --target train.de "
        "--valid-source val.en --valid-target val.de --output models/en-de",
    )
    data = command.add_argument_group("data")
    data.add_argument("--source", required=True, help="sentences, one a line (.gz allowed)")
    data.add_argument("--target", help="their translations; without it --source has tabs")
    data.add_argument("--valid-source", required=True, help="as --source, for scoring")
    data.add_argument("--valid-target", help="as --target, for scoring")
    data.add_argument("--output", required=True, type=Path, help="folder for the model")
    data.add_argument(
        "--tokenizer",
        choices=["bpe", "unigram", "wordpiece", "characters"],
        default="bpe",
        help="bpe and unigram are SentencePiece's",
    )
    data.add_argument("--vocabulary", type=int, default=8000, help="tokens on each side")
    data.add_argument("--lowercase", action="store_true", help="lower-case both sides")
    data.add_argument("--normalization", choices=["NFC", "NFKC"], default="NFC")
    data.add_argument("--max-length", type=int, default=100, help="tokens; longer texts are cut")
    model = command.add_argument_group("model")
    model.add_argument(
        "--attention", choices=["bahdanau", "luong", "fixed", "none"], default="bahdanau"
    )
    model.add_argument("--cell", choices=["gru", "lstm"], default="gru")
    model.add_argument("--units", type=int, default=256)
    model.add_argument("--embedding", type=int, default=256)
    model.add_argument("--encoder-layers", type=int, default=1)
    model.add_argument("--decoder-layers", type=int, default=1)
    model.add_argument("--dropout", type=float, default=0.3)
    model.add_argument("--input-feeding", action="store_true", help="Luong's order")
    model.add_argument("--tie-embeddings", action="store_true")
    training = command.add_argument_group("training")
    training.add_argument("--epochs", type=int, default=20)
    training.add_argument("--batch-size", type=int, default=64)
    training.add_argument("--learning-rate", type=float, default=1e-3)
    training.add_argument("--label-smoothing", type=float, default=0.1)
    training.add_argument("--patience", type=int, help="epochs without a better BLEU, then stop")
    training.add_argument("--bleu-tokenize", default="13a", help="'none' for tokenized text")
    training.add_argument("--jit", action="store_true", help="compile with XLA")
    training.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Trains a translator as the options say."""
    import keras

    from keras_attention.generation import Greedy
    from keras_attention.metrics import bleu
    from keras_attention.models import seq2seq
    from keras_attention.tasks import Translator
    from keras_attention.tasks.fit import fit
    from keras_attention.text import read_parallel

    keras.utils.set_random_seed(options.seed)
    pairs = read_parallel(options.source, options.target)
    validation = read_parallel(options.valid_source, options.valid_target)
    source_tokenizer, target_tokenizer = (
        _learn_tokenizer(options, list(side)) for side in zip(*pairs, strict=True)
    )
    model = seq2seq(
        source_tokenizer.vocabulary_size,
        target_tokenizer.vocabulary_size,
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
    print(
        f"{len(pairs)} pairs; {source_tokenizer.vocabulary_size} and "
        f"{target_tokenizer.vocabulary_size} tokens; {model.count_params():,} parameters"
    )
    fit(
        Translator(
            model,
            source_tokenizer,
            target_tokenizer,
            Greedy(options.max_length),
            options.max_length,
        ),
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
    print(f"The best model is in {options.output}")


def _learn_tokenizer(options, lines):
    from keras_attention.text import Characters, SentencePiece, WordPiece

    shared = {"lowercase": options.lowercase, "normalization": options.normalization}
    if options.tokenizer == "characters":
        return Characters.train(lines, **shared)
    if options.tokenizer == "wordpiece":
        return WordPiece.train(lines, options.vocabulary, **shared)
    return SentencePiece.train(lines, options.vocabulary, model_type=options.tokenizer, **shared)
