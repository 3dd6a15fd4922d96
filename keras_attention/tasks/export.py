"""Exports of tasks: what the writers need to know of a task, and the choice of the writer."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_attention.export.saved_model.writer import check_backend, export_saved_model
from keras_attention.export.signatures import Exportable, Signature
from keras_attention.generation import BeamSearch, GreedySearch, Strategy
from keras_attention.tasks.comparisons import comparison_for
from keras_attention.tasks.runner import ModelRunner
from keras_attention.tasks.task import Task
from keras_attention.text import Tokenizer

if TYPE_CHECKING:
    from keras_attention.export.ctranslate2.writer import Generation

# Options of `Task.export` that add or remove signatures; the others are the writer's.
SIGNATURE_OPTIONS: dict[str, tuple[str, ...]] = {
    "saved_model": ("tokenizer",),
    "tflite": ("details", "steps", "options", "text"),
    "ctranslate2": (),
    "onnx": (),
    "transformers_js": (),
}


def export_task(
    task: Task,
    folder: str | Path,
    format: str,
    samples: Sequence[Any] | None,
    record_samples: bool = True,
    **options: Any,
) -> dict[str, Any]:
    """Writes an export; see `Task.export`."""
    task.model_runner("export")
    if format in SIGNATURE_OPTIONS:
        check_backend()
    if format == "tflite" and (static := options.pop("static", None)) is not None:
        task = task.with_static_inputs(static)
    if format == "transformers_js":
        task = with_greedy_search(task)
    names = options.keys() & SIGNATURE_OPTIONS.get(format, ())
    signatures = task.signatures(format, **{name: options.pop(name) for name in names})
    exported = exportable(task, signatures, samples, record_samples)
    if format == "saved_model":
        return export_saved_model(exported, folder, **options)
    if format == "ctranslate2":
        from keras_attention.export.ctranslate2.writer import export_ctranslate2

        return export_ctranslate2(exported, generation_of(task), folder, **options)
    if format == "onnx":
        from keras_attention.export.onnx.writer import export_onnx

        return export_onnx(exported, folder, **options)
    if format == "transformers_js":
        from keras_attention.export.transformers_js.writer import export_transformers_js

        runner = task.model_runner("export")
        tokenizers = tokenizers_of(task)
        return export_transformers_js(
            exported, runner.model, runner.strategy, tokenizers, folder, **options
        )
    from keras_attention.export.tflite.writer import export_tflite  # loads LiteRT

    return export_tflite(exported, folder, **options)


def with_greedy_search(task: Task) -> Task:
    """Returns a task with greedy search in place of a beam search, with the same limits."""
    runner = task.model_runner("export")
    if not isinstance(runner.strategy, BeamSearch):
        return task
    strategy = GreedySearch(**Strategy.get_config(runner.strategy))
    runner = ModelRunner(runner.model, strategy)
    return task.from_parts(task.preprocessor, runner, task.postprocessor)


def tokenizers_of(task: Task) -> list[Tokenizer]:
    """Returns the tokenizers of the inputs and of the outputs."""
    return [*task.preprocessor.tokenizers, *task.postprocessor.tokenizers]


def generation_of(task: Task) -> "Generation":
    """Returns what a CTranslate2 model contains of a task."""
    from keras_attention.export.ctranslate2.writer import Generation

    preprocessor, runner = task.preprocessor, task.model_runner("export")
    return Generation(
        runner.model,
        runner.strategy,
        [tokenizer.vocabulary for tokenizer in tokenizers_of(task)],
        getattr(preprocessor, "max_length", 0),  # of text; `export_ctranslate2` refuses images
    )


def exportable(
    task: Task,
    signatures: Sequence[Signature],
    samples: Sequence[Any] | None = None,
    record_samples: bool = True,
) -> Exportable:
    """Returns what the writers need to know of a task.

    Args:
        task: the task.
        signatures: from `task.signatures`.
        samples: inputs on which to verify the export; `None` makes some.
        record_samples: whether they may be written into the export. Otherwise made samples are
            verified, too, and those are written.
    """
    preprocessor, postprocessor = task.preprocessor, task.postprocessor
    comparison = comparison_for(postprocessor)
    all_samples = verified = preprocessor.samples(samples)
    if not record_samples:
        all_samples = [*verified, *preprocessor.samples(None)]
    weights = [weight.value for weight in task.model.weights]
    return Exportable(
        name=type(task).__name__,
        signatures=signatures,
        samples=all_samples,
        num_samples=len(verified if samples is None else samples),
        input_name=preprocessor.input_name,
        preprocess=preprocessor,
        predict=task.runner,
        results=comparison.results,
        metric=comparison.metric,
        metadata=task.metadata,
        save_assets=task.save_parts,
        resources=list({id(each): each for each in tokenizers_of(task)}.values()),
        first_recorded=0 if record_samples else len(verified),
        num_bytes=sum(x.dtype.size * x.shape.num_elements() for x in weights),
        allows_empty_batch=preprocessor.allows_empty_batch,
        normalize=preprocessor.normalize,
        compact=preprocessor.compact_samples,
    )
