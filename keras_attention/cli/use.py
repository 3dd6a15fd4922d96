"""`keras-attention generate`, `evaluate` and `attention`: what a trained or exported model says."""

import argparse
import sys
from pathlib import Path

MODEL = "folder that 'train' wrote, or that 'export' wrote"


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    generate = commands.add_parser(
        "generate",
        help="translate arguments, a file or standard input",
        description="Translates each text to a line of standard output.",
        epilog="Example: keras-attention generate models/en-de --beam 5 'a man on a ladder .'",
    )
    generate.add_argument("model", type=Path, help=MODEL)
    generate.add_argument("texts", nargs="*", help="texts; none: lines of --input")
    generate.add_argument("--input", default="-", help="file of lines; - is standard input")
    generate.add_argument("--scores", action="store_true", help="print SCORE<tab>TEXT")
    _add_strategy(generate)
    generate.set_defaults(run=run_generate)

    evaluate = commands.add_parser(
        "evaluate",
        help="BLEU and chrF on two files",
        description="Translates a file and scores it with sacrebleu, whose signature says how.",
        epilog="Example: keras-attention evaluate models/en-de --source test.en --target test.de",
    )
    evaluate.add_argument("model", type=Path, help=MODEL)
    evaluate.add_argument("--source", required=True, help="sentences, one a line (.gz allowed)")
    evaluate.add_argument("--target", help="references; without it --source has tabs")
    evaluate.add_argument("--output", type=Path, help="file for the translations")
    evaluate.add_argument("--bleu-tokenize", default="13a", help="'none' for tokenized text")
    evaluate.add_argument("--lowercase", action="store_true", help="ignore case in the scores")
    _add_strategy(evaluate)
    evaluate.set_defaults(run=run_evaluate)

    attention = commands.add_parser(
        "attention",
        help="draw where the model looked",
        description="Translates one text and draws the figure of Bahdanau's paper.",
        epilog="Example: keras-attention attention models/en-de 'a man .' --output man.png",
    )
    attention.add_argument("model", type=Path, help="folder that 'train' wrote")
    attention.add_argument("text")
    attention.add_argument("--output", type=Path, required=True, help=".png, .svg or .pdf")
    _add_strategy(attention)
    attention.set_defaults(run=run_attention)


def run_generate(options: argparse.Namespace) -> None:
    """Prints one line for each text."""
    texts = options.texts or _lines(options.input)
    model = open_model(options)
    progress = len(texts) > 1 and sys.stderr.isatty() and not sys.stdout.isatty()
    for answers in model.generate(texts, progress=progress):
        best = answers[0]
        print(f"{best.score:.4f}\t{best.text}" if options.scores else best.text)


def run_evaluate(options: argparse.Namespace) -> None:
    """Prints both scores with their signatures."""
    from keras_attention.metrics import corpus_scores
    from keras_attention.text import read_parallel

    sources, references = map(
        list, zip(*read_parallel(options.source, options.target), strict=True)
    )
    answers = open_model(options).generate(sources, progress=True)
    hypotheses = [each[0].text for each in answers]
    if options.output:
        options.output.write_text("".join(f"{line}\n" for line in hypotheses), encoding="utf-8")
    scores = corpus_scores(hypotheses, references, options.bleu_tokenize, options.lowercase)
    for name, (score, signature) in scores.items():
        print(f"{name}: {score:.2f}  ({signature})")


def run_attention(options: argparse.Namespace) -> None:
    """Draws one alignment."""
    from keras_attention.viz import alignment, save

    looked = load_task(options).attention(options.text)
    save(alignment(looked.weights, looked.source, looked.target), options.output)
    print(f"{' '.join(looked.target)}\nThe picture is {options.output}")


def open_model(options: argparse.Namespace):
    """A trained task or an export: both have `generate`."""
    if (options.model / "model.keras").is_file() or not options.model.is_dir():
        return load_task(options)
    if options.beam or options.length_penalty is not None or options.max_length:
        raise ValueError(
            "--beam, --length-penalty, --max-length: expected none, for an export has its strategy "
            f"inside. Received: {options.model}"
        )
    from keras_attention.export import open_exported

    return open_exported(options.model)


def load_task(options: argparse.Namespace):
    """The trained task, with the strategy of the command line if it names one."""
    from keras_attention.tasks import Translator

    task = Translator.load(options.model)
    task.strategy = strategy_of(options, task.strategy)
    return task


def strategy_of(options: argparse.Namespace, saved):
    """Beam search as the options say, else the strategy that was saved."""
    from keras_attention.generation import Beam, Greedy

    limits = {
        "max_length": options.max_length or saved.max_length,
        "length_ratio": saved.length_ratio,
    }
    if options.length_penalty is not None and not options.beam:
        raise ValueError(
            "--length-penalty: expected with --beam. "
            f"Received: --length-penalty {options.length_penalty}"
        )
    if options.beam:
        penalty = 0.6 if options.length_penalty is None else options.length_penalty
        return Beam(options.beam, length_penalty=penalty, **limits)
    return Greedy(**limits) if options.max_length else saved


def _add_strategy(command):
    command.add_argument("--beam", type=int, metavar="WIDTH", help="beam search of this width")
    command.add_argument("--length-penalty", type=float, help="alpha of Wu et al. 2016 [0.6]")
    command.add_argument("--max-length", type=int, help="most tokens in an answer")


def _lines(path):
    from keras_attention.text import read_lines

    return list(read_lines("/dev/stdin" if path == "-" else path))
