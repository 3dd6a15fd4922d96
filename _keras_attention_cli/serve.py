"""Parser of `keras-attention serve`."""

import argparse
from pathlib import Path

from _keras_attention_cli.options import Commands, positive_int


def add_commands(commands: Commands) -> None:
    """Adds the command `serve`."""
    command = commands.add_parser(
        "serve",
        help="serve a SavedModel with TensorFlow Serving's REST API",
        description="Serves the versions in a folder that 'export --saved-model' wrote, with the "
        "URLs, requests and responses of TensorFlow Serving's REST API, for development and for "
        "machines without Docker. New versions are loaded while the server runs.",
        epilog="Example: keras-attention serve saved_models/dates",
    )
    command.add_argument("folder", type=Path, help="folder with the versions of a SavedModel")
    command.add_argument(
        "--rest-api-port",
        type=_port,
        default=8501,
        metavar="PORT",
        help="port; 0 is a free one [%(default)s]",
    )
    command.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 accepts other machines [%(default)s]",
    )
    command.add_argument(
        "--model-name", metavar="NAME", help="name in URLs [the name of the folder]"
    )
    command.add_argument(
        "--label",
        type=_label,
        action="append",
        default=[],
        metavar="NAME=VERSION",
        help="label of a version, which stays loaded; may be repeated [the latest version only]",
    )
    command.add_argument(
        "--max-concurrency",
        type=positive_int,
        metavar="N",
        help="requests that run at the same time [the number of processors]",
    )
    command.add_argument(
        "--max-body-bytes",
        type=positive_int,
        default=64 * 2**20,
        metavar="N",
        help="size of a request's body [%(default)s]",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to 65535. Received: {text!r}")
    return int(text)


def _label(text: str) -> tuple[str, int]:
    name, _, version = text.rpartition("=")
    if not name or not version.isdecimal():
        raise argparse.ArgumentTypeError(
            f"must be a name and a version, such as canary=2. Received: {text!r}"
        )
    return name, int(version)
