"""Quality of a file of reduced precision, next to the model's."""

from collections.abc import Callable
from typing import Any

from keras_attention.export.signatures import Exportable
from keras_attention.export.verification.compare import BATCH, ExportError
from keras_attention.export.verification.tolerances import MAX_QUALITY_LOSS


def compare_quality(
    exportable: Exportable,
    runner: Callable,
    references: Any,
    allow_loss: bool,
    rows_are_independent: bool = True,
) -> dict[str, Any]:
    """Scores the results of a file and of the model.

    Args:
        exportable: has the model, the samples and the metric.
        runner: `runner(model_inputs)` returns the outputs of the file.
        references: correct result for each of the user's samples; `None` takes the model's results.
        allow_loss: whether to accept a file that loses more than `MAX_QUALITY_LOSS` points.
        rows_are_independent: whether the rows of a batch are computed as each alone. Otherwise,
            where a batch is padded or added up in another order, a rounding may change a result;
            results in batches are then scored, too, and the lower scores count.

    Returns:
        `agreement`, the numbers of compared and of equal results, and `scores`.

    Raises:
        ExportError: If the results of the file depend on the batch although the model's do not, or
            the file loses quality.
    """
    samples, count = exportable.samples, exportable.num_samples
    (expected, model_batched), (received, export_batched) = (
        (_results(exportable, run, 1), _results(exportable, run, BATCH))
        for run in (exportable.predict, runner)
    )
    rows = zip(samples, expected, model_batched, received, export_batched, strict=True)
    for sample, model_alone, model_together, alone, together in rows:
        # Random samples of the model depend on the position in the batch.
        if rows_are_independent and model_alone == model_together and alone != together:
            raise ExportError(
                "The result must not depend on the batch. Received: "
                f"{alone!r} alone, {together!r} in a batch of up to {BATCH} for "
                f"{repr(sample)[:80]}"
            )
    correct = expected[:count] if references is None else references
    model, export, batched = (
        exportable.metric(x[:count], correct) for x in (expected, received, export_batched)
    )
    if not rows_are_independent:
        export = {name: min(score, batched[name]) for name, score in export.items()}
    if max(model[name] - export[name] for name in model) > MAX_QUALITY_LOSS and not allow_loss:
        raise ExportError(
            f"The file must score at most {MAX_QUALITY_LOSS} below the model's {model} on {count} "
            f"samples; with allow_loss=True it is written as it is. Received: {export}"
        )
    agreement = {"compared": len(samples), "equal": _count_equal(expected, received)}
    if not rows_are_independent:
        agreement["equal_in_batches"] = _count_equal(model_batched, export_batched)
    scores = {
        "against": "the model's own results" if references is None else "references",
        "samples": count,
        "model": model,
        "export": export,
        "max_loss": MAX_QUALITY_LOSS,
        "loss_allowed": allow_loss,
    }
    return {"agreement": agreement, "scores": scores}


def _count_equal(expected, received):
    return sum(a == b for a, b in zip(expected, received, strict=True))


def check_references(exportable: Exportable, references: Any, is_exact: bool) -> None:
    """Raises a `ValueError` unless references are allowed and as many as the samples.

    Args:
        exportable: has the samples.
        references: as for `compare_quality`.
        is_exact: whether results are compared with the model's instead of scored.
    """
    if references is None:
        return
    if is_exact:
        raise ValueError(
            "`references` are for exports whose results are scored, such as those of reduced "
            "precision; this one must return what the model returns. "
            f"Received: {len(references)} references"
        )
    if len(references) != exportable.num_samples:
        raise ValueError(
            "`references` must have one element for each sample. Received: "
            f"{len(references)} references, {exportable.num_samples} samples"
        )


def _results(exportable: Exportable, run: Callable, batch_size: int) -> list:
    results: list = []
    for start in range(0, len(exportable.samples), batch_size):
        batch = exportable.encode(exportable.samples[start : start + batch_size])
        results += exportable.results(run(batch.model_inputs), batch)
    return results
