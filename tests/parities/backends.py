"""Runs models on the backend of `KERAS_BACKEND`, for the parity of the backends.

    PYTHONPATH=tests KERAS_BACKEND=jax python -m parities.backends LOADED SAVED NAME...

It loads every model from the folder LOADED, which another backend saved, and writes its outputs and
the model itself to the folder SAVED.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np

from compilation import XLA_FLAGS
from parities.checks import compare, outputs
from parities.families import FAMILIES, build

BACKENDS = "tensorflow", "jax", "torch"


def file_name(name: str) -> str:
    return f"{list(FAMILIES).index(name):02d}"


def write(model: keras.Model, name: str, folder: Path) -> None:
    """Writes a model and its outputs."""
    model.save(folder / f"{file_name(name)}.keras")
    np.savez(folder / f"{file_name(name)}.npz", **outputs(model))


def read(name: str, folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / f"{file_name(name)}.npz") as arrays:
        return dict(arrays)


def run_all(folder: Path, names: list[str]) -> None:
    """Builds the models here; each backend loads them from the one before, and the first again."""
    (folder / "0").mkdir()
    for name in names:
        write(build(name), name, folder / "0")
    first = keras.backend.backend()
    order = [*(backend for backend in BACKENDS if backend != first), first]
    for number, backend in enumerate(order, start=1):
        (folder / str(number)).mkdir()
        paths = [str(Path(__file__).parents[1]), *sys.path]
        environment = {"PYTHONPATH": os.pathsep.join(paths), "KERAS_BACKEND": backend}
        environment["XLA_FLAGS"] = XLA_FLAGS
        command = [sys.executable, "-m", "parities.backends"]
        subprocess.run(
            [*command, folder / str(number - 1), folder / str(number), *names],
            env={**os.environ, **environment, "OMP_NUM_THREADS": "1"},
            check=True,
        )


def differences(folder: Path, name: str) -> float:
    """Returns the greatest difference of a backend from the first one."""
    expected = read(name, folder / "0")
    return max(compare(read(name, folder / str(n)), expected) for n in range(1, len(BACKENDS) + 1))


if __name__ == "__main__":
    loaded, saved, *names = sys.argv[1:]
    for name in names:
        path = Path(loaded, f"{file_name(name)}.keras")
        write(keras.saving.load_model(path), name, Path(saved))
