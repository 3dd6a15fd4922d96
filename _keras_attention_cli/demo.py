"""Parser of `keras-attention demo`."""

from pathlib import Path

from _keras_attention_cli.options import Commands

DATE = "Dienstag, den 3. März 1998"


def add_commands(commands: Commands) -> None:
    """Adds the command `demo`."""
    command = commands.add_parser(
        "demo",
        help="train, export and verify a small model in about three minutes",
        description="Trains a model that normalizes dates, written in any of nine languages, to "
        "ISO 8601, on generated data. Then evaluates it on unseen dates, draws its attention "
        "weights, exports it for TensorFlow Serving and TFLite, verifies the exports, and "
        "converts the date that is given.",
        epilog="Example: keras-attention demo 'the 4th of july, 1976'",
    )
    command.add_argument("date", nargs="?", default=DATE, help="a date to convert [%(default)s]")
    command.add_argument(
        "--output",
        type=Path,
        default=Path("demo"),
        metavar="FOLDER",
        help="folder for the model, the picture and the exports [%(default)s]",
    )
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the data and weights [0]"
    )
