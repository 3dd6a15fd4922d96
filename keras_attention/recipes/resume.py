"""Settings and environment compared when a training is resumed, and the lock of a training."""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_attention.tasks.translator import Translator
from keras_attention.utils.atomic_io import lock_file, remove_abandoned, temporary_folder

LOCK_FILE = "lock"
# Environment variables that change the results of the same program.
FLAGS = (
    "OMP_NUM_THREADS",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
PACKAGES = "keras", "numpy", "tensorflow", "jax", "torch", "sacrebleu"


def resume_folder(folder: str | Path) -> Path:
    """Returns the hidden folder that holds the state of a training until it is finished.

    Args:
        folder: Folder of the task that `fit` writes.
    """
    folder = Path(folder).absolute()
    return folder.with_name(f".{folder.name}.unfinished")


@contextlib.contextmanager
def training_lock(folder: Path) -> Iterator[Path]:
    """Yields `resume_folder(folder)`, created if needed, while no other process trains there.

    Args:
        folder: Folder of the task that `fit` writes.

    Raises:
        ValueError: If another process trains there.
    """
    state_folder = resume_folder(folder)
    state_folder.mkdir(parents=True, exist_ok=True)
    with lock_file(state_folder / LOCK_FILE) as is_locked:
        # A training that has just ended removes the file, also if it was locked here meanwhile.
        if not is_locked or not (state_folder / LOCK_FILE).exists():
            raise ValueError(
                "No other process may train in the folder at the same time. "
                f"Received: folder={str(folder)!r}, where another process trains"
            )
        remove_abandoned(folder)
        yield state_folder


def remove_state(folder: Path) -> None:
    """Removes the state of a finished training, in one step for whoever looks at it.

    Args:
        folder: Folder of the task that `fit` writes.
    """
    state_folder = resume_folder(folder)
    with temporary_folder(folder.absolute(), "new") as temporary:
        os.rename(state_folder, temporary / state_folder.name)


def check_settings(settings: Mapping[str, Any], saved: Mapping[str, Any], folder: Path) -> None:
    """Checks that a training is resumed with the settings it began with.

    Args:
        settings: Options and data of this call.
        saved: Those of the interrupted training.
        folder: Folder to delete to start anew.

    Raises:
        ValueError: If some differ.
    """
    different = [name for name in settings if settings[name] != saved.get(name)]
    if different:
        raise ValueError(
            "An interrupted training is resumed with the settings it began with. To start "
            f"anew, delete {folder}. Received: different {', '.join(different)}"
        )


def environment() -> dict[str, Any]:
    """Returns versions and flags that the results of a training depend on."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "backend": keras.backend.backend(),
        "floatx": keras.config.floatx(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        **versions,
        **{name: os.environ[name] for name in FLAGS if name in os.environ},
    }


def warn_of_environment(saved: Mapping[str, Any]) -> None:
    """Warns if the environment differs from that of the interrupted training."""
    now = environment()
    different = [
        f"{name} {saved.get(name)} is now {now.get(name)}"
        for name in sorted({*saved, *now})
        if saved.get(name) != now.get(name)
    ]
    if different:
        warnings.warn(
            "The interrupted training had another environment. The resumed one may end with "
            f"slightly other weights than it would have: {', '.join(different)}",
            stacklevel=2,
        )


def fingerprints(task: Translator, pairs: Sequence, validation: Sequence) -> dict[str, Any]:
    """Returns shapes and hashes that identify the model and the data of a training."""
    tokenizers = task.source_tokenizer, task.target_tokenizer
    return {
        "weight shapes": [list(variable.shape) for variable in task.model.weights],
        "layers": _digest(_layer_options(task.model)),
        "strategy": repr(task.strategy),
        "pairs": _digest(pairs),
        "validation pairs": _digest(validation),
        "tokenizers": _digest([(each.vocabulary, each.get_config()) for each in tokenizers]),
    }


def _layer_options(model: keras.Model) -> list[tuple]:
    """Returns class, precision and options of each layer, such as its dropout."""
    return [
        (type(layer).__name__, layer.dtype_policy.name, *_scalar_options(layer))
        for layer in model._flatten_layers(include_self=False)
    ]


def _scalar_options(layer: keras.Layer) -> list[tuple[str, Any]]:
    """Returns options that are no objects, without names, which count the process's layers."""
    try:
        config = layer.get_config()
    except NotImplementedError:  # a part of a layer that is saved with it
        return []
    kinds = (bool, int, float, str, type(None))
    return sorted((k, v) for k, v in config.items() if isinstance(v, kinds) and k != "name")


def _digest(items: Sequence) -> str:
    return hashlib.sha256(repr(list(items)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
