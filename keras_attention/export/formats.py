"""Formats of exports: the file that tells each of them, its runner, and its runs of the samples.

A new format also needs its signatures and its writer in `tasks.export`, and an option of
`keras-attention export`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_attention.export.saved_model.versions import list_versions

# Runners are imported in functions, since tasks load one format at a time.


@dataclass(frozen=True)
class ExportFormat:
    """A format of exports.

    Attributes:
        file: a file that each export of the format has, and none of another.
        runtime: name of what runs it.
        load_runner: `load_runner(folder)` returns what a loaded task runs.
        run_recorded: `run_recorded(folder, recorded, contents)` runs the inputs of `samples.json`,
            given with `verification.json`. It returns the outputs of each, once for each API that
            runs the format. `None` takes those of the runner's `call`.
    """

    file: str
    runtime: str
    load_runner: Callable[[Path], Any]
    run_recorded: Callable[[Path, dict, dict], list[list[dict]]] | None = None


def _saved_model_runner(folder):
    from keras_attention.export.saved_model.runner import SavedModelRunner

    return SavedModelRunner(folder)


def _run_saved_model(folder, recorded, contents):
    from keras_attention.export.saved_model.verify import run_calls

    calls = [
        {"signature": recorded["signature"], "inputs": each, "timed": False}
        for each in recorded["inputs"]
    ]
    return [run_calls(folder, calls, bool(contents["tensorflow_text_operations"]))["outputs"]]


def _tflite_runner(folder):
    from keras_attention.export.tflite.runner import TFLiteRunner

    return TFLiteRunner(folder)


def _run_tflite(folder, recorded, contents):
    from keras_attention.export.tflite.compiled_model import CompiledModelRunner

    file = folder / FORMATS["tflite"].file
    runners = [_tflite_runner(file)]
    if contents.get("static_shape") is not None:
        runners.append(CompiledModelRunner(file))
    return [
        [runner.call(recorded["signature"], each) for each in recorded["inputs"]]
        for runner in runners
    ]


def _steps_runner(folder):
    from keras_attention.export.tflite.step_runner import StepRunner

    return StepRunner(folder)


def _run_steps(folder, recorded, contents):
    from keras_attention.export.tflite.step_runner import StepRunner

    return _run_in_both(StepRunner, folder, recorded)


def _ctranslate2_runner(folder):
    from keras_attention.export.ctranslate2.runner import CTranslate2Runner

    return CTranslate2Runner(folder)


def _onnx_runner(folder):
    from keras_attention.export.onnx.runner import ONNXRunner

    return ONNXRunner(folder)


def _transformers_js_runner(folder):
    from keras_attention.export.transformers_js.runner import TransformersJSRunner

    return TransformersJSRunner(folder)


def _litert_lm_runner(folder):
    from keras_attention.export.litert_lm.runner import LiteRTLMRunner

    return LiteRTLMRunner(folder)


def _run_litert_lm(folder, recorded, contents):
    from keras_attention.export.litert_lm.runner import LiteRTLMRunner

    return _run_in_both(LiteRTLMRunner, folder, recorded)


def _run_in_both(runner_class, folder, recorded):
    """Returns the outputs of LiteRT's `Interpreter` and of its `CompiledModel`."""
    runners = [runner_class(folder, compiled) for compiled in (False, True)]
    return [[runner.call(each) for each in recorded["inputs"]] for runner in runners]


FORMATS = {
    "saved_model": ExportFormat(
        "saved_model.pb", "TensorFlow", _saved_model_runner, _run_saved_model
    ),
    "tflite": ExportFormat("model.tflite", "LiteRT", _tflite_runner, _run_tflite),
    "tflite_steps": ExportFormat("steps.tflite", "LiteRT", _steps_runner, _run_steps),
    "ctranslate2": ExportFormat("model.bin", "CTranslate2", _ctranslate2_runner),
    "onnx": ExportFormat("model.onnx", "ONNX Runtime", _onnx_runner),
    "transformers_js": ExportFormat(
        "generation_config.json", "ONNX Runtime", _transformers_js_runner
    ),
    "litert_lm": ExportFormat("model.litertlm", "LiteRT", _litert_lm_runner, _run_litert_lm),
}


def find_export(folder: str | Path) -> Path:
    """Returns the folder of a file, or of the last version of a SavedModel.

    Raises:
        ValueError: If there is none.
    """
    folder = Path(folder)
    files = [format.file for format in FORMATS.values()]
    if any((folder / file).is_file() for file in files):
        return folder
    numbers = list_versions(folder) if folder.is_dir() else []
    if numbers and (folder / str(numbers[-1]) / FORMATS["saved_model"].file).is_file():
        return folder / str(numbers[-1])
    raise ValueError(
        f"`folder` must be a SavedModel, its base path, or a folder with one of {files[1:]}. "
        f"Received: {str(folder)!r}"
    )


def export_format(folder: Path) -> str:
    """Returns the name of the format of an export that `find_export` has found."""
    return next(name for name, format in FORMATS.items() if (folder / format.file).is_file())
