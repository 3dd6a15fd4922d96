"""Comparison of what an export returns with what the model returns."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_attention.export.signatures import Exportable, Predictions, Signature
from keras_attention.export.verification.tolerances import ATTENTION_TOLERANCE, SCORE_TOLERANCE
from keras_attention.types import Batch

BATCH = 8
TIMED = 3  # samples whose latency is measured


class ExportError(ValueError):
    """An export differs from its model, or could not be written."""


def sample_batches(samples: Sequence, size: int = BATCH) -> list[list]:
    """Returns the batches to verify on: each sample alone, and all in batches of a size above 1."""
    together = [list(samples[i : i + size]) for i in range(0, len(samples), size)]
    return [[sample] for sample in samples] + (together if size > 1 else [])


def predictions_of_model(
    exportable: Exportable,
    signature: Signature,
    batches: Sequence[Batch],
    received: Sequence[Predictions] = (),
) -> tuple[list[Predictions], float]:
    """Runs the model.

    Args:
        exportable: has the model.
        signature: defines the form of the predictions; it takes the model inputs.
        batches: preprocessed samples.
        received: the export's predictions. The model returns attention weights, for which it is
            compiled once more, only if the export does.

    Returns:
        The predictions of each batch, and the median milliseconds for a single sample.
    """
    to_predictions = signature.comparison.predictions
    assert to_predictions is not None
    details = any(each.attention is not None for each in received)
    predictions = [
        to_predictions(exportable.predict(batch.model_inputs, details=details), batch)
        for batch in batches
    ]
    return predictions, median_latency(exportable.predict, batches)


def median_latency(run: Callable, batches: Sequence[Batch]) -> float:
    """Returns the median milliseconds of `run(model_inputs)` for up to `TIMED` single samples."""
    singles = [batch.model_inputs for batch in batches if len(batch.model_inputs) == 1]
    return statistics.median(milliseconds(lambda: run(x)) for x in singles[:TIMED])  # noqa: B023


def milliseconds(run: Callable[[], Any]) -> float:
    """Returns the time of the second of two calls, since the first may compile."""
    run()
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def compare(
    expected: Sequence[Predictions], received: Sequence[Predictions], batches: Sequence[list]
) -> dict[str, Any]:
    """Compares predictions hypothesis by hypothesis.

    Tokens must be equal, unless the scores tell that both hypotheses are equally good (a tie).
    Scores, or probabilities, must be close in any case. Where tokens are equal, the labels must be
    equal and the attention weights close, if the export returns them.

    Args:
        expected: the model's, one for each batch.
        received: the export's.
        batches: the samples, for errors.

    Returns:
        The numbers of compared and equal outputs and of ties, and the greatest differences.

    Raises:
        ExportError: If they do not agree.
    """
    counts = {"compared": 0, "equal": 0, "ties": 0}
    greatest = {"score": 0.0, "attention": 0.0}
    for ours, theirs, samples in zip(expected, received, batches, strict=True):
        if np.shape(ours.tokens) != np.shape(theirs.tokens):
            raise ExportError(
                f"The export must return outputs of shape {np.shape(ours.tokens)} for "
                f"{repr(samples)[:80]}. Received: {np.shape(theirs.tokens)}"
            )
        for index in np.ndindex(np.shape(ours.scores)):
            mine, other = _at(ours, index), _at(theirs, index)
            difference = abs(mine.scores - other.scores)
            if mine.probabilities is not None:
                difference = _greatest_difference(mine.probabilities, other.probabilities)
            relative = difference / max(1.0, abs(mine.scores))
            equal = np.array_equal(mine.tokens, other.tokens) and mine.labels == other.labels
            counts["compared"] += 1
            counts["equal" if equal else "ties"] += 1
            apart = 0.0
            if equal and other.attention is not None:
                apart = _greatest_difference(mine.attention, other.attention)
            if not (relative <= SCORE_TOLERANCE and apart <= ATTENTION_TOLERANCE):
                raise ExportError(
                    "The export must return what the model returns for "
                    f"{repr(samples[index[0]])[:80]}: {mine.labels!r} with score "
                    f"{mine.scores:.6f}. Received: {other.labels!r} with score "
                    f"{other.scores:.6f}, attention weights that differ by {apart:.2g}"
                )
            greatest["score"] = max(greatest["score"], difference)
            greatest["attention"] = max(greatest["attention"], apart)
    agreement = {
        **counts,
        "max_score_difference": greatest["score"],
        "tolerated_score_difference": SCORE_TOLERANCE,
    }
    if any(predictions.attention is not None for predictions in received):
        agreement["max_attention_difference"] = greatest["attention"]
        agreement["tolerated_attention_difference"] = ATTENTION_TOLERANCE
    return agreement


def check_consistent(
    signatures: Sequence[Signature],
    outputs: dict[str, dict],
    batch: Batch,
    tolerance: float = SCORE_TOLERANCE,
) -> None:
    """Checks the signatures that must return the same as another signature.

    Args:
        signatures: of the file; those without outputs are skipped.
        outputs: outputs for one batch, by signature.
        batch: the batch.
        tolerance: relative difference of floats.

    Raises:
        ExportError: If two signatures disagree.
    """
    for signature in signatures:
        comparison = signature.comparison
        if signature.name in outputs and comparison.same_as in outputs:
            received = comparison.view(outputs[signature.name])
            expected = comparison.expected(outputs[comparison.same_as], batch)
            check_same(received, expected, tolerance, (signature.name, comparison.same_as))


def check_same(
    received: dict, expected: dict, tolerance: float, names: tuple[str, str] = ("", "")
) -> None:
    """Checks that two signatures return the same.

    Args:
        received: outputs of the one.
        expected: what it must return; outputs that only one of them has are not compared.
        tolerance: relative difference of floats.
        names: names of the two signatures, for the error.

    Raises:
        ExportError: If they disagree.
    """
    for name in received.keys() & expected.keys():
        ours, theirs = np.asarray(received[name]), np.asarray(expected[name])
        is_same = ours.shape == theirs.shape and (
            np.array_equal(ours, theirs)
            if ours.dtype.kind in "OUSbiu"
            else np.allclose(ours, theirs, rtol=tolerance)
        )
        if not is_same:
            raise ExportError(
                f"`{names[0]}` must return what `{names[1]}` returns: {theirs.tolist()}. "
                f"Received: {ours.tolist()}"
            )


def compare_apis(
    exportable: Exportable, interpreter: Callable, compiled: Callable, tolerance: float
) -> dict[str, int]:
    """Runs all samples in both APIs of LiteRT, each sample alone.

    Args:
        exportable: has the samples.
        interpreter: `interpreter(model_inputs)` returns the outputs of `Interpreter`.
        compiled: the same of `CompiledModel`.
        tolerance: relative difference of floats; integers must be equal.

    Returns:
        The numbers of compared and of equal samples.

    Raises:
        ExportError: If they disagree.
    """
    for sample in exportable.samples:
        inputs = exportable.encode([sample]).model_inputs
        names = f"CompiledModel for {sample!r}", "Interpreter"
        check_same(compiled(inputs), interpreter(inputs), tolerance, names)
    return dict.fromkeys(("compared", "equal"), len(exportable.samples))


def _at(predictions, index):
    row, n = index
    return Predictions(
        predictions.labels[row][n],
        np.asarray(predictions.tokens[row][n]),
        float(predictions.scores[row][n]),
        None if predictions.attention is None else predictions.attention[row][n],
        None if predictions.probabilities is None else predictions.probabilities[row][n],
    )


def _greatest_difference(a, b):
    """Returns the greatest absolute difference, NaN if there is a NaN."""
    return float(np.abs(np.subtract(a, b, dtype="float64")).max())
