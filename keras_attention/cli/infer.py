"""`keras-attention generate`, `evaluate` and `attention`: what a trained or exported model says."""

import argparse
import contextlib
import sys
from pathlib import Path

from keras_attention.cli.options import add_strategy, strategy_of

TRAINED = "folder that 'train' wrote, or a Marian model's, such as OPUS-MT's"
STRATEGY = ("beam", "length_penalty", "max_length")  # options of the command line
MODEL = f"{TRAINED}, or that 'export' wrote"


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    generate = commands.add_parser(
        "generate",
        help="translate arguments, a file or standard input",
        description="Translates each text to a line of standard output.",
        epilog="Examples: keras-attention generate models/en-de --beam 5 'a man on a ladder .'; "
        "keras-attention generate models/en-de < test.en > test.out",
    )
    generate.add_argument("model", type=Path, help=MODEL)
    generate.add_argument("texts", nargs="*", help="texts; none: lines of --input")
    generate.add_argument(
        "--input", default="-", metavar="FILE", help="lines (.gz allowed) [standard input]"
    )
    generate.add_argument(
        "--scores", action="store_true", help="print SCORE, a tab, TEXT; see docs/cli.md"
    )
    add_strategy(generate)
    generate.set_defaults(run=run_generate)

    evaluate = commands.add_parser(
        "evaluate",
        help="BLEU and chrF on two files",
        description="Translates a file and scores it with sacrebleu, whose signature says how.",
        epilog="Example: keras-attention evaluate models/en-de --source test.en --target test.de",
    )
    evaluate.add_argument("model", type=Path, help=MODEL)
    evaluate.add_argument(
        "--source", required=True, metavar="FILE", help="sentences, one a line (.gz allowed)"
    )
    evaluate.add_argument(
        "--target", metavar="FILE", help="references; without it --source has tabs"
    )
    evaluate.add_argument("--output", type=Path, metavar="FILE", help="gets the translations")
    evaluate.add_argument(
        "--bleu-tokenize",
        default="13a",
        metavar="NAME",
        help="sacrebleu's tokenizer; 'none' for tokenized text [13a]",
    )
    evaluate.add_argument("--lowercase", action="store_true", help="ignore case in the scores")
    add_strategy(evaluate)
    evaluate.set_defaults(run=run_evaluate)

    attention = commands.add_parser(
        "attention",
        help="draw where the model looked",
        description="Translates one text and draws the figure of Bahdanau's paper.",
        epilog="Example: keras-attention attention models/en-de 'a man .' --output man.png",
    )
    attention.add_argument("model", type=Path, help=TRAINED)
    attention.add_argument("text", help="what to translate")
    attention.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="ends in .png, .svg or .pdf"
    )
    add_strategy(attention)
    attention.set_defaults(run=run_attention)


def run_generate(options: argparse.Namespace) -> None:
    """Prints one line for each text."""
    texts = options.texts or _lines(options.input)
    for best in answers(open_model(options), texts):
        print(f"{best.score:.4f}\t{best.text}" if options.scores else best.text)


def run_evaluate(options: argparse.Namespace) -> None:
    """Prints both scores with their signatures."""
    from keras_attention.metrics import bleu, corpus_scores
    from keras_attention.text import read_parallel

    bleu(["one"], ["one"], options.bleu_tokenize)  # a wrong name is told before the work
    pairs = read_parallel(options.source, options.target)
    if not pairs:
        raise ValueError(f"--source: expected at least one line. Received: {options.source!r}")
    sources, references = map(list, zip(*pairs, strict=True))
    hypotheses = [best.text for best in answers(open_model(options), sources)]
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text("".join(f"{line}\n" for line in hypotheses), encoding="utf-8")
    scores = corpus_scores(hypotheses, references, options.bleu_tokenize, options.lowercase)
    for name, (score, signature) in scores.items():
        print(f"{name}: {score:.2f}  ({signature})")


def run_attention(options: argparse.Namespace) -> None:
    """Draws one alignment."""
    from keras_attention.tasks import Captioner
    from keras_attention.viz import plot_alignment, save_figure

    task = _that_writes(task_from_options(options), options)
    if isinstance(task, Captioner):
        raise ValueError(f"Expected what reads text. Received: {str(options.model)!r}")
    looked = task.attention(options.text)
    save_figure(plot_alignment(looked.weights, looked.source, looked.target), options.output)
    print(f"{' '.join(looked.target)}\nThe picture is {options.output}")


def answers(model, texts: list[str]) -> list:
    """The best answer to each text, under a progress bar on standard error if that is a screen."""
    progress = len(texts) > 1 and sys.stderr.isatty()
    with contextlib.redirect_stdout(sys.stderr):  # Keras draws its bars on standard output
        return [each[0] for each in model.generate(texts, progress=progress)]


def open_model(options: argparse.Namespace):
    """A trained task or an export: both have `generate`."""
    from keras_attention.interop.marian import is_marian

    trained = (options.model / "model.keras").is_file() or is_marian(options.model)
    if trained or not options.model.is_dir():
        return _that_writes(task_from_options(options), options)
    for name in STRATEGY:
        if getattr(options, name) is not None:
            raise ValueError(
                f"--{name.replace('_', '-')}: expected with a folder that 'train' wrote; an export "
                f"has its strategy inside. Received: {str(options.model)!r}"
            )
    from keras_attention.tasks import load_exported

    return _that_writes(load_exported(options.model), options)


def _that_writes(task, options):
    from keras_attention.tasks import GenerationTask

    if not isinstance(task, GenerationTask):
        raise ValueError(
            f"Expected what answers with text. Received: {str(options.model)!r}, which answers "
            "with labels"
        )
    return task


def task_from_options(options: argparse.Namespace):
    """The trained task, with the strategy of the command line if it names one."""
    from keras_attention.interop.marian import is_marian
    from keras_attention.tasks import GenerationTask, Translator, load_task

    if is_marian(options.model):
        task = Translator.from_marian(options.model)
    elif (options.model / "model.keras").is_file():
        task = load_task(options.model)
    else:
        raise ValueError(
            "Expected a folder that 'train' wrote, or a Marian model's. "
            f"Received: {str(options.model)!r}"
        )
    if isinstance(task, GenerationTask):
        task.strategy = strategy_of(options, task.strategy)
    elif any(getattr(options, name) is not None for name in STRATEGY):
        raise ValueError(
            "--beam, --length-penalty, --max-length: expected with what generates. "
            f"Received: {str(options.model)!r}"
        )
    return task


def _lines(path):
    from keras_attention.text.files import decode_lines, read_lines

    if path == "-":
        return list(decode_lines(sys.stdin.buffer, "standard input"))
    return list(read_lines(path))
