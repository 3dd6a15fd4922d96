"""`keras-attention export`: a trained model for TF Serving and for phones."""

import argparse
from itertools import islice
from pathlib import Path

from keras_attention.cli.options import add_strategy, whole
from keras_attention.cli.use import TRAINED, load_task


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
    command.add_argument("model", type=Path, help=TRAINED)
    command.add_argument(
        "--saved-model", type=Path, metavar="FOLDER", help="gets TF Serving's next version"
    )
    command.add_argument(
        "--tflite", type=Path, metavar="FOLDER", help="gets model.tflite and its tokenizers"
    )
    command.add_argument(
        "--sentences",
        metavar="FILE",
        help="sentences to prove on, one a line (.gz allowed) [made from the vocabulary]",
    )
    command.add_argument(
        "--count", type=whole, default=20, metavar="N", help="sentences of the file used [20]"
    )
    add_strategy(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Exports in the formats asked for."""
    from keras_attention.text import read_lines

    if not (options.saved_model or options.tflite):
        raise ValueError("Expected --saved-model or --tflite, or both. Received: neither")
    sentences = None
    if options.sentences:
        sentences = list(islice(read_lines(options.sentences), options.count))
    task = load_task(options)
    for format, folder in (("saved_model", options.saved_model), ("tflite", options.tflite)):
        if folder:
            print(f"{format}: writing, running and comparing it", flush=True)
            report(task.export(folder, format, sentences))


def report(proof: dict) -> None:
    """Prints what a proof says, in two lines."""
    agreement, spent = proof["agreement"], proof["median_milliseconds"]
    size = sum(proof["bytes"].values()) / 1e6
    ties = f" ({agreement['ties']} ties)" if agreement["ties"] else ""
    print(
        f"{proof['format']}: {proof['path']}, {size:.1f} MB; {spent['export']:.1f} ms a text "
        f"(the model: {spent['model']:.1f} ms)"
    )
    print(
        f"  proven: {agreement['equal']} of {agreement['answers']} answers equal{ties}, scores "
        f"within {agreement['max_score_difference']:.1g}, attention within "
        f"{agreement['max_attention_difference']:.1g}"
    )
