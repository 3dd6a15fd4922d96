"""Checks of the files of a saved task, before memory is allocated for what they claim."""

import io
import math
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.utils.archive import check_directory, check_member, read_member
from keras_attention.utils.limits import MIB, limits
from keras_attention.utils.reading import errors_name_file, parse_json

MODEL_FILE = "model.keras"
CONFIG, WEIGHTS = "config.json", "model.weights.h5"  # members of a `.keras` file
MODEL_ALLOWANCE = 64 * MIB  # of variables that the file need not hold, such as those of LoRA
MAX_ITEMS = 100_000  # of a `.weights.h5` file
LENGTHS = ("max_source_length", "max_prompt_length")


def load_model(folder: Path) -> keras.Model:
    """Loads `model.keras` of a saved task.

    Before it is loaded, its members are checked: they must not be compressed, the weights must be
    as large as they claim, and the model described by `config.json` must be of about their size.

    Args:
        folder: Folder of the task.

    Raises:
        ValueError: If the file is missing, damaged, larger than `keras_attention.utils.limits`
            allows, or has weights that are not finite.
    """
    path = folder / MODEL_FILE
    if not path.is_file():
        raise ValueError(f"`folder` must contain {MODEL_FILE}. Received: {str(folder)!r}")
    with errors_name_file(path, "The file must be a complete Keras model"):
        check_directory(path)
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                check_member(info, path.stat().st_size)
            config = parse_json(read_member(archive, CONFIG, limits.json_bytes), path)
            weights = io.BytesIO(archive.read(WEIGHTS))
        most = MODEL_ALLOWANCE + limits.model_ratio * _weights_bytes(weights)
        size = _model_bytes(config)
        if size > most:
            raise ValueError(
                f"its {CONFIG} describes variables of {size} bytes, more than {most}, "
                f"`model_ratio` of `keras_attention.utils.limits`"
            )
        model = keras.saving.load_model(path)
        for variable in model.variables:
            if not _is_finite(variable):
                raise ValueError(f"its variable {variable.path!r} has NaN or infinite values")
        return model


def check_task_config(config: dict[str, Any], path: Path) -> None:
    """Checks the values in a `task.json` or `export.json` that memory depends on.

    Args:
        config: Contents of the file.
        path: Path of the file.

    Raises:
        ValueError: If a length exceeds `max_length` of `keras_attention.utils.limits`, labels are
            no strings, or a size is no pair of positive integers.
    """
    with errors_name_file(path, "The file must describe a task"):
        for name in LENGTHS:
            if name in config and not _is_size(config[name], limits.max_length):
                raise ValueError(
                    f"`{name}` must be an integer from 1 to {limits.max_length}, the `max_length` "
                    f"of `keras_attention.utils.limits`. Received: {config[name]!r}"[:300]
                )
        for name in ("image_size", "grid_shape"):
            sides = config.get(name, (1, 1))
            if len(sides) != 2 or not all(_is_size(side, limits.image_side) for side in sides):
                raise ValueError(f"`{name}` must be two sizes. Received: {sides!r}"[:300])
            if math.prod(sides) > limits.image_pixels:
                raise ValueError(f"`{name}` must not exceed `image_pixels`. Received: {sides}")
        if not all(isinstance(label, str) for label in config.get("labels", ())):
            raise ValueError("`labels` must be strings")


def _is_size(value: Any, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _weights_bytes(file: io.BytesIO) -> int:
    """Returns the size of all arrays of a `.weights.h5` file.

    Raises:
        ValueError: If the file has links, compressed or external arrays, or arrays that are
            smaller than they claim.
    """
    import h5py  # comes with Keras

    size, count = 0, 0
    with h5py.File(file, "r") as weights:
        groups = [weights]
        while groups:
            group = groups.pop()
            for name in group:
                count += 1
                if count > MAX_ITEMS:
                    raise ValueError(f"its weights have more than {MAX_ITEMS} items")
                if type(group.get(name, getlink=True)) is not h5py.HardLink:
                    raise ValueError(f"its weights contain a link, {name!r}"[:200])
                item = group[name]
                if isinstance(item, h5py.Group):
                    groups.append(item)
                    continue
                if item.dtype.kind not in "biufc" or item.is_virtual or item.external:
                    raise ValueError(f"its weights contain {name!r}, which is no array"[:200])
                if item.id.get_storage_size() < item.nbytes:
                    raise ValueError(
                        f"its array {name!r} of {item.nbytes} bytes is incomplete or compressed"
                    )
                size += item.nbytes
    return size


def _model_bytes(config: dict[str, Any]) -> int:
    """Returns the size of the variables of the model that a `config.json` describes."""
    # Keras's global state is that of a thread: none of these variables is left in this one.
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(_count_bytes, config).result()


def _count_bytes(config: dict[str, Any]) -> int:
    config = {**config, "compile_config": None}  # optimizers and metrics need values
    # In this scope variables have shapes and no values.
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object(config)
        if not isinstance(model, keras.Model):
            raise ValueError(f"it contains a {type(model).__name__}")
        return sum(4 * math.prod(variable.shape) for variable in model.variables)


def _is_finite(variable: Any) -> bool:
    if not keras.backend.is_float_dtype(variable.dtype):
        return True
    return bool(np.isfinite(ops.convert_to_numpy(ops.cast(variable, "float32"))).all())
