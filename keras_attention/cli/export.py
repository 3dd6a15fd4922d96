"""`keras-attention export`: a trained model for TF Serving and for phones."""

import argparse
from pathlib import Path

from keras_attention.cli.use import _add_strategy, load_task


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "export",
        help="write a SavedModel and a TFLite file, each proven",
        description="Exports a trained model. Each export is run on real sentences and must say "
        "what the model says; proof.json tells how far they agreed.",
        epilog="Example: keras-attention export models/en-de --saved-model serving/en-de "
        "--tflite phone/en-de --sentences test.en",
    )
    command.add_argument("model", type=Path, help="folder that 'train' wrote")
    command.add_argument("--saved-model", type=Path, help="folder for TF Serving's versions")
    command.add_argument("--tflite", type=Path, help="folder for model.tflite and its tokenizers")
    command.add_argument("--sentences", help="file of sentences to prove on (.gz allowed)")
    command.add_argument("--count", type=int, default=20, help="sentences used [20]")
    _add_strategy(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Exports in the formats asked for."""
    from keras_attention.text import read_lines

    if not (options.saved_model or options.tflite):
        raise ValueError("Expected --saved-model or --tflite, or both. Received: neither")
    sentences = None
    if options.sentences:
        sentences = list(read_lines(options.sentences))[: options.count]
    task = load_task(options)
    for format, folder in (("saved_model", options.saved_model), ("tflite", options.tflite)):
        if folder:
            report(task.export(folder, format, sentences))


def report(proof: dict) -> None:
    """Prints what a proof says."""
    raise NotImplementedError
