"""Settings of the whole suite: tests/ and the examples in the docstrings of keras_attention/."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import pytest

ROOT = Path(__file__).parent
# Parts that are TensorFlow's own: graphs, tokenizers in the graph, SavedModel, TFLite.
TENSORFLOW_ONLY = ("text", "images", "tasks", "export")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if keras.backend.backend() == "tensorflow":
        return
    skip = pytest.mark.skip(reason="runs in a TensorFlow graph; KERAS_BACKEND is not tensorflow")
    tops = ROOT / "tests", ROOT / "keras_attention"
    folders = [top / part for top in tops for part in TENSORFLOW_ONLY]
    for item in items:
        inside = any(item.path.is_relative_to(folder) for folder in folders)
        if inside or item.get_closest_marker("tensorflow_only"):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def seed() -> None:
    """The same random numbers in every test, whatever ran before it."""
    keras.utils.set_random_seed(1234)


@pytest.fixture(scope="module", autouse=True)
def compiled() -> Iterator[None]:
    """Gives back what JAX compiled for a file: all of it is more memory maps than Linux allows."""
    yield
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout; tests that need it skip where it is not."""
    folder = Path(os.environ.get("KERAS_ATTENTION_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not at {folder} (set KERAS_ATTENTION_DATA)")
    return folder
