"""Parsers of `keras-attention generate`, `evaluate` and `attention`."""

from pathlib import Path

from _keras_attention_cli.options import (
    MODEL,
    TRAINED_MODEL,
    Commands,
    add_model,
    add_strategy_options,
    positive_int,
)


def add_commands(commands: Commands) -> None:
    """Adds the commands `generate`, `evaluate` and `attention`."""
    _add_generate(commands)
    _add_evaluate(commands)
    _add_attention(commands)


def _add_generate(commands: Commands) -> None:
    command = commands.add_parser(
        "generate",
        help="generate output text for arguments, a file or standard input",
        description="Writes one line of output text for each input text. Files of any size are "
        "read in windows of 4096 lines, whose lines are run in the order of their lengths and "
        "written in their own order.",
        epilog="Examples: keras-attention generate models/en-de --num-beams 5 'a man on a ladder "
        ".'; keras-attention generate models/en-de --input test.en --output test.de",
    )
    add_model(command, MODEL)
    command.add_argument("texts", nargs="*", help="input texts [the lines of --input]")
    command.add_argument(
        "--input",
        default="-",
        metavar="FILE",
        help="file of input texts, one per line (.gz allowed) [standard input]",
    )
    command.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="file to write, which gets its name when it is complete [standard output]",
    )
    command.add_argument(
        "--batch-size", type=positive_int, metavar="N", help="texts run at once, at most [64]"
    )
    command.add_argument(
        "--batch-tokens",
        type=positive_int,
        metavar="N",
        help="tokens run at once, at most, padding included [2048]",
    )
    command.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="threads that run batches [one per core for a TFLite file, otherwise 1]",
    )
    command.add_argument(
        "--scores", action="store_true", help="print the score and a tab before each output text"
    )
    add_strategy_options(command)


def _add_evaluate(commands: Commands) -> None:
    command = commands.add_parser(
        "evaluate",
        help="compute BLEU and chrF on parallel files",
        description="Generates an output for each source sentence and prints BLEU and chrF with "
        "their sacrebleu signatures.",
        epilog="Example: keras-attention evaluate models/en-de --source test.en --target test.de",
    )
    add_model(command, MODEL)
    command.add_argument(
        "--source",
        required=True,
        metavar="FILE",
        help="source sentences, one per line (.gz allowed)",
    )
    command.add_argument(
        "--target",
        metavar="FILE",
        help="reference sentences [second, tab-separated column of --source]",
    )
    command.add_argument("--output", type=Path, metavar="FILE", help="file to write the outputs to")
    command.add_argument(
        "--bleu-tokenize",
        default="13a",
        metavar="NAME",
        help="tokenizer of sacrebleu; 'none' for tokenized text [%(default)s]",
    )
    command.add_argument("--lowercase", action="store_true", help="ignore case in the scores")
    add_strategy_options(command)


def _add_attention(commands: Commands) -> None:
    command = commands.add_parser(
        "attention",
        help="draw the attention weights of one output",
        description="Generates the output for one text and draws its attention weights, as in "
        "figure 3 of Bahdanau et al. 2015.",
        epilog="Example: keras-attention attention models/en-de 'a man .' --output man.png",
    )
    add_model(command, TRAINED_MODEL)
    command.add_argument("text", help="input text")
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="picture to write: .png, .svg or .pdf",
    )
    add_strategy_options(command)
