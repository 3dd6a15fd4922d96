"""`keras-attention export` and `verify`, for all formats."""

import argparse
from itertools import islice

from _keras_attention_cli.export import SIGNATURES
from keras_attention.cli.infer import load_trained
from keras_attention.cli.printable import printable
from keras_attention.utils.manifest import DIGESTS, read_manifest

RECORDED_NOTICE = """\
The export contains up to eight of the samples, with their outputs: in samples.json and, of a
SavedModel, in serving.md and the warm-up requests. --no-record-samples leaves them out."""


def run_export(options: argparse.Namespace) -> None:
    """Exports a trained task in the chosen formats."""
    from keras_attention.export.formats import FORMATS
    from keras_attention.text import read_lines

    folders = {format: getattr(options, format) for format in FORMATS}
    if not any(folders.values()):
        names = [f"`--{format.replace('_', '-')}`" for format in FORMATS]
        raise ValueError(f"At least one of {', '.join(names)} is required")
    samples, references = (
        list(islice(read_lines(file), options.num_samples)) if file else None
        for file in (options.samples, options.references)
    )
    task = load_trained(options)
    saved_model_options = {"tokenizer": not options.no_tokenizer}
    reduced_precision = {
        "weights": options.weights,
        "references": references,
        "allow_loss": options.allow_loss,
    }
    tflite_options = {
        **reduced_precision,
        "static": options.static,
        "details": not options.no_details,
        **{name: getattr(options, name) for name in SIGNATURES},
    }
    format_options = {
        "saved_model": saved_model_options,
        "tflite": tflite_options,
        "tflite_steps": {**reduced_precision, "static": options.static},
        "ctranslate2": reduced_precision,
        "transformers_js": reduced_precision,
        "litert_lm": {
            **reduced_precision,
            "prefill_lengths": options.prefill_lengths,
            "cache_length": options.cache_length,
        },
    }
    for format, folder in folders.items():
        if folder:
            print(f"{format}: exporting and verifying", flush=True)
            print_verification(
                task.export(
                    folder,
                    format,
                    samples,
                    options.record_samples,
                    **format_options.get(format, {}),
                )
            )
    if samples and options.record_samples:
        print(RECORDED_NOTICE)


def run_verify(options: argparse.Namespace) -> None:
    """Verifies an export or a trained task again.

    Of an export, it prints how far it agrees with the stored outputs. Of a task, only the files are
    checked.
    """
    if (options.folder / "task.json").is_file():
        task = read_manifest(options.folder / "task.json")
        print(f"{task.get('task')!r}: {options.folder}, {len(task[DIGESTS])} files as saved")
        return
    from keras_attention.export import verify

    verification = verify(options.folder)
    agreement = verification["agreement"]
    line = f"{verification['format']}: {verification['path']}, exported {verification['date']}"
    print(printable(line))
    print(
        f"  verified: {len(verification[DIGESTS])} files as written, "
        f"{agreement['equal']} of {agreement['compared']} outputs equal, "
        f"scores within {agreement['max_score_difference']:.1g}"
    )


def print_verification(verification: dict) -> None:
    """Prints the result of a verification in two lines."""
    agreement = verification["agreement"]
    milliseconds = verification["median_milliseconds"]
    megabytes = sum(verification["bytes"].values()) / 1e6
    print(
        f"{verification['format']}: {verification['path']}, {megabytes:.1f} MB; "
        f"{milliseconds['export']:.1f} ms per input (model: {milliseconds['model']:.1f} ms)"
    )
    equal = f"{agreement['equal']} of {agreement['compared']} outputs equal"
    if "scores" in verification:
        scores = verification["scores"]
        print(
            f"  compared with {scores['against']}: {_format_scores(scores['export'])} "
            f"(model: {_format_scores(scores['model'])}); {equal}"
        )
        return
    line = f"  verified: {equal}"
    if agreement.get("ties"):
        line += f" ({agreement['ties']} ties)"
    if "max_score_difference" in agreement:
        line += f", scores within {agreement['max_score_difference']:.1g}"
    if "max_attention_difference" in agreement:
        line += f", attention weights within {agreement['max_attention_difference']:.1g}"
    print(line)


def _format_scores(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {score:.1f}" for name, score in scores.items())
