"""Exports of tasks: for each format, its signatures and its writer."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from keras_attention.export.saved_model.writer import check_backend, export_saved_model
from keras_attention.export.signatures import Exportable, Signature
from keras_attention.generation import BeamSearch, GreedySearch, Strategy
from keras_attention.tasks.comparisons import comparison_for
from keras_attention.tasks.runner import ModelRunner
from keras_attention.tasks.signatures import (
    ids_signatures,
    onnx_signatures,
    saved_model_signatures,
    tflite_signatures,
)
from keras_attention.tasks.task import Task
from keras_attention.text import Tokenizer

if TYPE_CHECKING:
    from keras_attention.export.ctranslate2.writer import Generation


@dataclass(frozen=True)
class TaskFormat:
    """A format in which tasks are exported.

    Options of `Task.export` go to the first of the three functions that has a parameter of this
    name, and the others to `write`.

    Attributes:
        signatures: `signatures(task, **options)` returns the functions of the export.
        write: `write(task, exportable, folder, **options)` writes and verifies the export. It
            returns the contents of `verification.json` and `path`.
        prepare: `prepare(task, **options)` returns the task as the format can represent it.
    """

    signatures: Callable[..., list[Signature]]
    write: Callable[..., dict[str, Any]]
    prepare: Callable[..., Task] = lambda task: task


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
    task_format = find_format(format)
    check_backend()
    task = task_format.prepare(task, **_pop_options(options, task_format.prepare))
    signatures = task.signatures(format, **_pop_options(options, task_format.signatures))
    exported = exportable(task, signatures, samples, record_samples)
    return task_format.write(task, exported, folder, **options)


def find_format(name: str) -> TaskFormat:
    """Returns the format of a name.

    Raises:
        ValueError: If there is none.
    """
    if name not in FORMATS:
        raise ValueError(f"`format` must be one of {sorted(FORMATS)}. Received: format={name!r}")
    return FORMATS[name]


def _pop_options(options, function):
    """Removes the parameters of a function from `options`, and returns them."""
    names = options.keys() & inspect.signature(function).parameters.keys()
    return {name: options.pop(name) for name in names}


def with_static_inputs(task: Task, static: Sequence[int] | None = None) -> Task:
    """Returns a task whose inputs have one shape, if one is given; see `Task.export`."""
    return task if static is None else task.with_static_inputs(static)


def with_greedy_search(task: Task) -> Task:
    """Returns a task with greedy search in place of a beam search, with the same limits."""
    runner = task.model_runner("export")
    if not isinstance(runner.strategy, BeamSearch):
        return task
    return task.from_parts(
        task.preprocessor, greedy_runner(runner.model, runner.strategy), task.postprocessor
    )


def prepare_steps(task: Task, static: Sequence[int] | None = None) -> Task:
    """Returns a task with static inputs and greedy search; see `Task.export`.

    Raises:
        ValueError: If the task does not generate, or `static` is missing.
    """
    runner = task.model_runner("export")
    if static is None:
        raise ValueError(
            "format='tflite_steps' needs `static`, such as (1, 64): batch size and source length. "
            "Received: static=None"
        )
    if runner.strategy is None:
        raise ValueError(
            "format='tflite_steps' is for tasks that generate text. "
            f"Received: a {type(task).__name__}"
        )
    greedy = greedy_runner(runner.model, runner.strategy)
    return task.from_parts(task.preprocessor, greedy, task.postprocessor).with_static_inputs(static)


def greedy_runner(model: keras.Model, strategy: Strategy) -> ModelRunner:
    """Returns a runner of a model with greedy search in place of a strategy, with its limits."""
    return ModelRunner(model, GreedySearch(**Strategy.get_config(strategy)))


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
        first_recorded=0 if record_samples else len(verified),
        num_bytes=sum(x.dtype.size * x.shape.num_elements() for x in weights),
        allows_empty_batch=preprocessor.allows_empty_batch,
        normalize=preprocessor.normalize,
        compact=preprocessor.compact_samples,
    )


def _write_saved_model(task, exportable, folder, **options):
    return export_saved_model(exportable, folder, **options)


def _write_tflite(task, exportable, folder, **options):
    from keras_attention.export.tflite.writer import export_tflite  # loads LiteRT

    return export_tflite(exportable, folder, **options)


def _write_steps(task, exportable, folder, **options):
    from keras_attention.export.tflite.step_signatures import step_signatures
    from keras_attention.export.tflite.step_writer import export_steps

    runner = task.model_runner("export")
    signatures = step_signatures(runner.model, runner.strategy, task.preprocessor.model_input_spec)
    return export_steps(exportable, signatures, runner.strategy, folder, **options)


def _write_ctranslate2(task, exportable, folder, **options):
    from keras_attention.export.ctranslate2.writer import export_ctranslate2

    return export_ctranslate2(exportable, generation_of(task), folder, **options)


def _write_onnx(task, exportable, folder, **options):
    from keras_attention.export.onnx.writer import export_onnx

    return export_onnx(exportable, folder, **options)


def _write_transformers_js(task, exportable, folder, **options):
    from keras_attention.export.transformers_js.writer import export_transformers_js

    runner = task.model_runner("export")
    model, strategy = runner.model, runner.strategy
    return export_transformers_js(
        exportable, model, strategy, tokenizers_of(task), folder, **options
    )


def _write_litert_lm(task, exportable, folder, **options):
    from keras_attention.export.litert_lm.writer import LanguageModel, export_litert_lm

    runner = task.model_runner("export")
    max_prompt_length = getattr(task.preprocessor, "max_length", 0)  # of text
    language_model = LanguageModel(
        runner.model, runner.strategy, tokenizers_of(task), max_prompt_length
    )
    if runner.strategy is not None:  # samples of the runtime are others than the model's
        exportable = replace(exportable, predict=greedy_runner(runner.model, runner.strategy))
    return export_litert_lm(exportable, language_model, folder, **options)


FORMATS = {
    "saved_model": TaskFormat(saved_model_signatures, _write_saved_model),
    "tflite": TaskFormat(tflite_signatures, _write_tflite, with_static_inputs),
    "tflite_steps": TaskFormat(ids_signatures, _write_steps, prepare_steps),
    "ctranslate2": TaskFormat(ids_signatures, _write_ctranslate2),
    "onnx": TaskFormat(onnx_signatures, _write_onnx),
    "transformers_js": TaskFormat(ids_signatures, _write_transformers_js, with_greedy_search),
    "litert_lm": TaskFormat(ids_signatures, _write_litert_lm),
}
