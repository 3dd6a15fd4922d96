"""`keras-attention export` and `verify`: a trained model for TF Serving and for phones."""

import argparse
from itertools import islice
from pathlib import Path

from keras_attention.cli.infer import TRAINED, task_from_options
from keras_attention.cli.options import add_strategy, whole

ADDED = {
    "steps": "encode and step, for an app that loops itself",
    "options": "with_options, which takes a width, a length limit, a temperature, a seed",
    "text": "text, from strings to strings, where the tokenizers are WordPiece",
}


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    command = commands.add_parser(
        "export",
        help="write a SavedModel and a TFLite file, each proven",
        description="Exports a trained model. Each export is run on real sentences and must say "
        "what the model says; verification.json tells how far they agreed.",
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
    command.add_argument(
        "--no-tokenizer",
        action="store_true",
        help="a SavedModel from ids to ids, for a server without tensorflow-text's operations",
    )
    command.add_argument(
        "--weights",
        default="float32",
        help="of the TFLite file: float32, float16, int8 (the choice for phones), int4 or "
        "full_int8 [float32]",
    )
    command.add_argument(
        "--references",
        metavar="FILE",
        help="what is right for each sentence: scores a file whose weights are rounded "
        "[what the model answers]",
    )
    command.add_argument(
        "--allow-loss",
        action="store_true",
        help="write such a file even if it loses more than 1 point of 100",
    )
    for name, added in ADDED.items():
        command.add_argument(
            f"--{name}", action="store_true", help=f"add to the TFLite file {added}"
        )
    add_strategy(command)
    command.set_defaults(run=run)

    again = commands.add_parser(
        "verify",
        help="ask an export again what it was proven on",
        description="Runs an export, long after or on another machine, on what is in its "
        "samples.json. The trained model is not needed.",
        epilog="Example: keras-attention verify serving/en-de",
    )
    again.add_argument("folder", type=Path, help="that 'export' wrote, or one version in it")
    again.set_defaults(run=run_verify)


def run(options: argparse.Namespace) -> None:
    """Exports in the formats asked for."""
    from keras_attention.text import read_lines

    if not (options.saved_model or options.tflite):
        raise ValueError("Expected --saved-model or --tflite, or both. Received: neither")
    sentences, references = (
        list(islice(read_lines(file), options.count)) if file else None
        for file in (options.sentences, options.references)
    )
    task = task_from_options(options)
    phone = {
        "weights": options.weights,
        "references": references,
        "allow_loss": options.allow_loss,
        **{name: getattr(options, name) for name in ADDED},
    }
    for format, folder, how in (
        ("saved_model", options.saved_model, {"tokenizer": not options.no_tokenizer}),
        ("tflite", options.tflite, phone),
    ):
        if folder:
            print(f"{format}: writing, running and comparing it", flush=True)
            report(task.export(folder, format, sentences, **how))


def run_verify(options: argparse.Namespace) -> None:
    """Asks an export again, and prints how far it agrees."""
    from keras_attention.export import verify

    said = verify(options.folder)
    agreement = said["agreement"]
    print(f"{said['format']}: {said['path']}, of {said['date']}")
    print(
        f"  verified: {agreement['equal']} of {agreement['compared']} answers are as then, scores "
        f"within {agreement['max_score_difference']:.1g}"
    )


def report(proof: dict) -> None:
    """Prints what a proof says, in two lines."""
    agreement, spent = proof["agreement"], proof["median_milliseconds"]
    size = sum(proof["bytes"].values()) / 1e6
    print(
        f"{proof['format']}: {proof['path']}, {size:.1f} MB; {spent['export']:.1f} ms a text "
        f"(the model: {spent['model']:.1f} ms)"
    )
    if "scores" in proof:
        scores = proof["scores"]
        print(
            f"  scored against {scores['against']}: {written(scores['export'])} "
            f"(the model: {written(scores['model'])}); "
            f"{agreement['equal']} of {agreement['compared']} answers equal"
        )
        return
    ties = f" ({agreement['ties']} ties)" if agreement["ties"] else ""
    looked = agreement.get("max_attention_difference")  # labels have none
    print(
        f"  proven: {agreement['equal']} of {agreement['compared']} answers equal{ties}, scores "
        f"within {agreement['max_score_difference']:.1g}"
        + (f", attention within {looked:.1g}" if looked is not None else "")
    )


def written(scores: dict[str, float]) -> str:
    """Scores by name on one line."""
    return ", ".join(f"{name} {score:.1f}" for name, score in scores.items())
