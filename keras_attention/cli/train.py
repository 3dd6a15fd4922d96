"""`keras-attention train`: two files in, a translator out."""

import argparse
from pathlib import Path

from keras_attention.cli.options import positive, share, whole
from keras_attention.models.sizes import SIZES
from keras_attention.utils.atomic_io import check_replaceable

# The options of one architecture alone, with what they are where they are not given.
OWN = {
    "rnn": {
        "attention": "bahdanau",
        "cell": "gru",
        "units": 256,
        "embedding": 256,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "input_feeding": False,
        "tie_embeddings": False,
    },
    "transformer": {"size": "tiny", "norm": "pre"},
}


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
    data.add_argument(
        "--joint-vocabulary",
        action="store_true",
        help="one tokenizer, learned on both sides; a transformer then shares its embeddings",
    )
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
    model.add_argument("--model", choices=sorted(OWN), default="rnn", help="[%(default)s]")
    _number(model, "--dropout", share, None, "[0.3; of a transformer its size's]")
    _add_rnn(command.add_argument_group("model rnn"))
    _add_transformer(command.add_argument_group("model transformer"))
    training = command.add_argument_group("training")
    _number(training, "--epochs", whole, 20, "passes over the data")
    _number(training, "--batch-size", whole, None, "sentences at once [64]")
    _number(
        training,
        "--batch-tokens",
        whole,
        None,
        "most tokens in one side of a batch, padding counted; --batch-size is then a limit beside "
        "it, or none",
    )
    _number(training, "--learning-rate", positive, 1e-3, "Adam's highest")
    _number(training, "--warmup", whole, 200, "batches until the rate is reached")
    training.add_argument(
        "--decay",
        choices=["linear", "inverse_sqrt"],
        default="linear",
        help="of the rate from there on; inverse_sqrt also sets Adam's betas as Vaswani et al. "
        "2017 do [%(default)s]",
    )
    _number(training, "--label-smoothing", share, 0.1, "of the loss")
    training.add_argument(
        "--patience", type=whole, metavar="N", help="epochs without a better BLEU, then stop"
    )
    _number(
        training, "--average", whole, 1, "last epochs, whose mean is kept if it has the best BLEU"
    )
    _number(
        training,
        "--ema",
        share,
        None,
        "momentum of a moving average of the weights, such as 0.999; it is what is scored and kept",
    )
    _number(
        training,
        "--r-drop",
        positive,
        None,
        "weight of the divergence of two passes through dropout, such as 5 (Liang et al. 2021); "
        "a step takes twice as long",
    )
    _number(
        training,
        "--risk",
        positive,
        None,
        "weight of the expected BLEU that the model's own answers lack, such as 0.12 (Shen et al. "
        "2016); with --start-from. An epoch is about 3,072 pairs",
    )
    training.add_argument(
        "--bleu-tokenize",
        default="13a",
        metavar="NAME",
        help="sacrebleu's tokenizer; 'none' for tokenized text [%(default)s]",
    )
    training.add_argument(
        "--jit", action="store_true", help="compile with XLA: on a CPU, faster for an rnn"
    )
    training.add_argument(
        "--bfloat16",
        action="store_true",
        help="products in bfloat16, weights in float32: faster where the processor has such "
        "products, on a CPU without --jit",
    )
    training.add_argument("--seed", type=int, default=0, metavar="N", help="[%(default)s]")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Trains a translator as the options say."""
    import keras

    from keras_attention.metrics import bleu
    from keras_attention.recipes.fit import fit, unfinished
    from keras_attention.text import read_parallel

    if (options.output / "task.json").is_file() and not unfinished(options.output).is_dir():
        raise ValueError(
            "--output: expected a new folder, or one whose training was stopped. "
            f"Received: {str(options.output)!r}, which holds a trained model"
        )
    check_replaceable(options.output, "task.json")
    if options.risk is not None and not options.start_from:
        raise ValueError(
            "--risk: expected with --start-from, a model whose answers are worth weighing. "
            f"Received: --risk {options.risk}"
        )
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
            # with no limit of its own, it is as many as the tokens allow
            batch_size=options.batch_size or options.batch_tokens or 64,
            batch_tokens=options.batch_tokens,
            max_length=options.max_length,
            learning_rate=options.learning_rate,
            warmup_steps=options.warmup,
            decay=options.decay,
            label_smoothing=options.label_smoothing,
            average=options.average,
            ema=options.ema,
            r_drop=options.r_drop,
            risk=options.risk,
            patience=options.patience,
            seed=options.seed,
            bfloat16=options.bfloat16,
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
    told = help if default is None else f"{help} [{default}]"
    group.add_argument(name, type=type, default=default, metavar="N", help=told)


def _add_rnn(group):
    default = OWN["rnn"]
    group.add_argument(
        "--attention",
        choices=["bahdanau", "luong", "fixed", "none"],
        help="fixed: the same context at every step; none: the encoder's last state "
        f"alone [{default['attention']}]",
    )
    group.add_argument("--cell", choices=["gru", "lstm"], help=f"of both sides [{default['cell']}]")
    for name, help in (
        ("units", "width of the cells"),
        ("embedding", "width of the embeddings"),
        ("encoder_layers", "bidirectional layers that read"),
        ("decoder_layers", "layers that write"),
    ):
        _number(group, _option(name), whole, None, f"{help} [{default[name]}]")
    for name, help in (
        ("input_feeding", "feed the last attention back"),
        ("tie_embeddings", "with the output layer"),
    ):
        group.add_argument(_option(name), action="store_true", default=None, help=help)


def _add_transformer(group):
    default = OWN["transformer"]
    group.add_argument(
        "--size",
        choices=list(SIZES),
        help="tiny and small: Wu et al. 2021; base and big: Vaswani et al. 2017 "
        f"[{default['size']}]",
    )
    group.add_argument(
        "--norm",
        choices=["pre", "post"],
        help=f"normalize before each sub-layer or after it, as Vaswani et al. [{default['norm']}]",
    )


def _option(name):
    return f"--{name.replace('_', '-')}"


def _own(options):
    """The options of the architecture that was asked for, and none of another's."""
    for model, names in OWN.items():
        for name in names:
            if model != options.model and getattr(options, name) is not None:
                raise ValueError(
                    f"{_option(name)}: expected with --model {model}. "
                    f"Received: --model {options.model}"
                )
    given = {name: getattr(options, name) for name in OWN[options.model]}
    return {
        name: OWN[options.model][name] if value is None else value for name, value in given.items()
    }


def _begin(options, pairs):
    """The task to train: a new one, or what `--start-from` holds."""
    from keras_attention.generation import GreedySearch
    from keras_attention.tasks import Translator

    strategy = GreedySearch(options.max_length)
    if options.start_from:
        return Translator.load(options.start_from, strategy)
    build = {"rnn": _rnn, "transformer": _transformer}[options.model]
    own = _own(options)
    tokenizers = _learn_tokenizers(options, pairs)
    sizes = [tokenizer.vocabulary_size for tokenizer in tokenizers]
    return Translator(build(options, own, *sizes), *tokenizers, strategy, options.max_length)


def _rnn(options, own, source, target):
    from keras_attention.models import seq2seq

    return seq2seq(
        source,
        target,
        embedding_dim=own["embedding"],
        units=own["units"],
        cell=own["cell"],
        encoder_layers=own["encoder_layers"],
        decoder_layers=own["decoder_layers"],
        attention=None if own["attention"] == "none" else own["attention"],
        input_feeding=own["input_feeding"],
        dropout=0.3 if options.dropout is None else options.dropout,
        tie_embeddings=own["tie_embeddings"],
    )


def _transformer(options, own, source, target):
    from keras_attention.models import transformer

    return transformer(
        source,
        target,
        own["size"],
        dropout=options.dropout,
        norm=own["norm"],
        share_embeddings=options.joint_vocabulary,
    )


def _read(read_parallel, source, target):
    pairs = read_parallel(source, target)
    if not pairs:
        raise ValueError(f"Expected a file with at least one line. Received: {source!r}, empty")
    return pairs


def _learn_tokenizers(options, pairs):
    """One for each side; with `--joint-vocabulary` the same for both."""
    sources, targets = map(list, zip(*pairs, strict=True))
    if options.joint_vocabulary:
        return [_learn_tokenizer(options, sources + targets)] * 2
    return [_learn_tokenizer(options, side) for side in (sources, targets)]


def _learn_tokenizer(options, lines):
    from keras_attention.text import CharacterTokenizer, SentencePieceTokenizer, WordPieceTokenizer

    shared = {"lowercase": options.lowercase, "normalization": options.normalization}
    if options.tokenizer == "characters":
        return CharacterTokenizer.train(lines, **shared)
    if options.tokenizer == "wordpiece":
        return WordPieceTokenizer.train(lines, options.vocabulary, **shared)
    return SentencePieceTokenizer.train(
        lines, options.vocabulary, model_type=options.tokenizer, **shared
    )
