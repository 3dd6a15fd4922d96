"""An export is run with the runtime that will run it, and compared with the model."""

import datetime
import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_attention import __version__
from keras_attention.export.verification.tolerances import ATTENTION_TOLERANCE, SCORE_TOLERANCE

BATCH = 8
PACKAGES = ("keras", "tensorflow", "tensorflow-text", "ai-edge-litert", "numpy")


class ExportError(ValueError):
    """An export that does not say what the model says, or that could not be written."""


class Output(NamedTuple):
    """What one batch was answered with, best first.

    Attributes:
        texts: `(batch, n)` strings.
        tokens: `(batch, n, ...)` names, padded.
        scores: `(batch, n)`.
        attention: `(batch, n, ...)`, compared where tokens are equal, or None.
        probabilities: `(batch, n, ...)`, compared in place of the scores, which are the greatest of
            them, or None.
    """

    texts: list
    tokens: Any
    scores: Any
    attention: Any = None
    probabilities: Any = None


def batches_of(trials: Sequence) -> list[list]:
    """What an export is run on: every trial alone, and all in batches of 8."""
    together = [list(trials[i : i + BATCH]) for i in range(0, len(trials), BATCH)]
    return [[trial] for trial in trials] + together


def run_ids(
    task: Any, batches: list[list], run: Callable | None = None
) -> tuple[list[Output], float]:
    """What is answered to ids, and the median milliseconds for one text.

    Args:
        task: encodes what it reads, and says what is compared of what was found.
        batches: from `batches_of`.
        run: `run(source, details)`; None asks the task itself, which is the model.
    """
    run = run or task.run
    outputs, spent = [], []
    for texts in batches:
        source = task.encode(texts)
        outputs.append(task.output(source, run(source, details=True)))
        if len(texts) == 1:
            spent.append(milliseconds(lambda: run(source)))  # noqa: B023
    return outputs, statistics.median(spent)


def milliseconds(run: Callable) -> float:
    """Time of the second of two calls: the first may compile."""
    run()
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def compare(
    expected: list[Output],
    received: list[Output],
    batches: list[list],
    tolerance: float = SCORE_TOLERANCE,
    whose: str = "the model's",
) -> dict:
    """Compares answer by answer.

    Tokens must be equal, unless the two scores say that both answers are as good (a tie). Scores,
    or probabilities, must be close in any case; where tokens are equal so must be the text, and the
    attention close.

    Returns:
        How many answers were compared, equal and ties, and the greatest differences.

    Raises:
        ExportError: if they do not agree.
    """
    counts = {"answers": 0, "equal": 0, "ties": 0}
    greatest = {"score": 0.0, "attention": 0.0}
    for ours, theirs, texts in zip(expected, received, batches, strict=True):
        if np.shape(ours.tokens) != np.shape(theirs.tokens):
            raise ExportError(
                f"Expected answers of shape {np.shape(ours.tokens)} to {repr(texts)[:80]}. "
                f"Received: {np.shape(theirs.tokens)}"
            )
        for place in np.ndindex(np.shape(ours.scores)):
            mine, other = _answer(ours, place), _answer(theirs, place)
            difference = abs(mine.scores - other.scores)
            if mine.probabilities is not None:
                difference = _greatest(mine.probabilities, other.probabilities)
            apart = difference / max(1.0, abs(mine.scores))
            equal = np.array_equal(mine.tokens, other.tokens) and mine.texts == other.texts
            counts["answers"] += 1
            counts["equal" if equal else "ties"] += 1
            looked = 0.0
            if equal and mine.attention is not None:
                looked = _greatest(mine.attention, other.attention)
            if not (apart <= tolerance and looked <= ATTENTION_TOLERANCE):
                given = repr(texts[place[0]])[:80]
                raise ExportError(
                    f"Expected {whose} answer to {given}: {mine.texts!r} with "
                    f"score {mine.scores:.6f}. Received: {other.texts!r} with score "
                    f"{other.scores:.6f}, attention that differs by {looked:.2g}"
                )
            greatest["score"] = max(greatest["score"], difference)
            greatest["attention"] = max(greatest["attention"], looked)
    said = {
        **counts,
        "max_score_difference": greatest["score"],
        "tolerated_score_difference": tolerance,
    }
    if any(output.attention is not None for output in expected):
        said["max_attention_difference"] = greatest["attention"]
        said["tolerated_attention_difference"] = ATTENTION_TOLERANCE
    return said


def check_same(
    best: dict,
    details: dict,
    tolerance: float = SCORE_TOLERANCE,
    wanted: str = "serving_default to say what details says",
) -> None:
    """Raises an `ExportError` unless what two signatures give is the same.

    Args:
        best: what the one gave.
        details: what it should have given by what the other gave, and maybe more.
        tolerance: relative, of numbers that are not whole.
        wanted: which are the two, for the error.
    """
    for name in best.keys() & details.keys():
        received, expected = np.asarray(best[name]), np.asarray(details[name])
        same = received.shape == expected.shape and (
            np.array_equal(received, expected)
            if received.dtype.kind in "OU"
            else np.allclose(received, expected, rtol=tolerance)
        )
        if not same:
            raise ExportError(
                f"Expected {wanted}, {expected.tolist()}. Received: {received.tolist()}"
            )


def _answer(output, place):
    row, n = place
    return Output(
        output.texts[row][n],
        np.asarray(output.tokens[row][n]),
        float(output.scores[row][n]),
        None if output.attention is None else output.attention[row][n],
        None if output.probabilities is None else output.probabilities[row][n],
    )


def _greatest(a, b):
    """The greatest difference; NaN where there is one."""
    return float(np.abs(np.subtract(a, b, dtype="float64")).max())


def report(
    format: str,
    runtime: str,
    task: Any,
    batches: list[list],
    agreement: dict,
    latency: dict,
    folder: Path,
) -> dict:
    """What `proof.json` says.

    Args:
        format: of the export.
        runtime: what ran it.
        task: what was exported.
        batches: what it was run on.
        agreement: from `compare`.
        latency: median milliseconds for one text, by who answered.
        folder: where the export is written.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        "format": format,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "runtime": runtime,
        "task": type(task).__name__,
        **task.about(),
        "batch_sizes": [len(texts) for texts in batches],
        "longest_input": max(len(text) for texts in batches for text in texts),
        "agreement": agreement,
        "median_milliseconds": {name: round(spent, 3) for name, spent in latency.items()},
        "bytes": {str(path.relative_to(folder)): path.stat().st_size for path in files},
        "versions": {
            "python": platform.python_version(),
            "keras-attention": __version__,
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "machine": f"{platform.system()} {platform.machine()}",
    }
