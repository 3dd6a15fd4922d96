"""Loading of saved tasks and of exports."""

from pathlib import Path

from keras_attention.tasks.captioner import Captioner
from keras_attention.tasks.saved_files import check_task_config
from keras_attention.tasks.task import Task
from keras_attention.tasks.text_classifier import TextClassifier
from keras_attention.tasks.text_generator import TextGenerator
from keras_attention.tasks.text_tagger import TextTagger
from keras_attention.tasks.translator import Translator
from keras_attention.utils.atomic_io import read_json
from keras_attention.utils.manifest import read_manifest
from keras_attention.utils.reading import errors_name_file

TASKS = {
    task.__name__: task
    for task in (Captioner, TextClassifier, TextGenerator, TextTagger, Translator)
}


def load_task(folder: str | Path) -> Task:
    """Loads a saved task of any class.

    Args:
        folder: what a task's `save` wrote.

    Returns:
        The task, as the `load` of its class returns it.

    Raises:
        ValueError: If the folder holds no task of a known class, or a file has changed since it was
            saved.
    """
    folder = Path(folder)
    config = read_manifest(folder / "task.json")
    name = config.get("task")
    if not isinstance(name, str) or name not in TASKS:
        raise ValueError(
            f"`folder` must hold one of the tasks {sorted(TASKS)}. "
            f"Received: {str(folder)!r} with {name!r}"[:500]
        )
    return TASKS[name]._load(folder, config=config)


def load_exported(folder: str | Path) -> Task:
    """Loads an export as a task that runs the exported file; the model's code is not needed.

    Args:
        folder: what a task's `export` wrote: a SavedModel's base path (its last version is taken)
            or one version of it, or the folder of another format.

    Returns:
        A task of the class that was exported. It can be called and has `generate`, `classify` or
        `tag`; `save`, `export` and another strategy need the Keras model and raise a `ValueError`.

    Raises:
        ValueError: If the folder holds no export of this format, or a file has changed since it was
            written.
    """
    from keras_attention.export.formats import FORMATS, export_format, find_export
    from keras_attention.export.saved_model.versions import EXTRA
    from keras_attention.export.verification.report import EXPORT_FORMAT, REPORT

    folder = find_export(folder)
    read_manifest(folder / REPORT)
    format = export_format(folder)
    parts = folder / EXTRA if format == "saved_model" else folder
    config = read_json(parts / "export.json")
    received = config.get("export"), config.get("format")
    if received != (format, EXPORT_FORMAT) or str(config.get("task")) not in TASKS:
        raise ValueError(
            f"`folder` must hold a {format} export of format {EXPORT_FORMAT}. "
            f"Received: {str(folder)!r} with export={received[0]!r}, format={received[1]!r}, "
            f"task={config.get('task')!r}"[:500]
        )
    check_task_config(config, parts / "export.json")
    with errors_name_file(folder, f"`folder` must hold a complete {format} export"):
        task_class = TASKS[config["task"]]
        preprocessor, postprocessor = task_class.load_parts(parts, config)
        runner = FORMATS[format].load_runner(folder)
        return task_class.from_parts(preprocessor, runner, postprocessor)
