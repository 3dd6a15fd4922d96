"""Settings of all tests: those in tests/ and the doctests of keras_attention/.

Keras is imported in functions, since pytest-xdist also loads this module in the process that only
distributes the tests.
"""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import HealthCheck, settings

from compilation import XLA_FLAGS

os.environ.setdefault("XLA_FLAGS", XLA_FLAGS)

ROOT = Path(__file__).parent
# Packages that need TensorFlow: graphs, tokenizers in the graph, SavedModel, TFLite.
TENSORFLOW_ONLY = ("cli", "export", "images", "recipes", "tasks", "text")

# One example, always the same; `--hypothesis-profile=thorough` draws many others.
_common = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("quick", max_examples=1, derandomize=True, database=None, **_common)
settings.register_profile("thorough", max_examples=200, **_common)
settings.load_profile("quick")


@pytest.hookimpl(tryfirst=True)  # before `-m "not slow"` is applied
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import keras

    on_tensorflow = keras.backend.backend() == "tensorflow"
    _mark_slow_and_exhaustive(items, on_tensorflow)
    if on_tensorflow:
        return
    skip = pytest.mark.skip(reason="requires KERAS_BACKEND=tensorflow")
    tops = ROOT / "tests", ROOT / "keras_attention"
    folders = [top / part for top in tops for part in TENSORFLOW_ONLY]
    for item in items:
        inside = any(item.path.is_relative_to(folder) for folder in folders)
        if inside or item.get_closest_marker("tensorflow_only"):
            item.add_marker(skip)


def _mark_slow_and_exhaustive(items: list[pytest.Item], on_tensorflow: bool) -> None:
    """Applies the numbers of cases of `slow` and `slow_on_tensorflow`, see setup.cfg."""
    cases: Counter[str] = Counter()
    for item in items:
        function = item.nodeid.partition("[")[0]
        cases[function] += 1
        if slow := item.get_closest_marker("slow"):
            if cases[function] > slow.kwargs.get("cases", cases[function]):
                item.add_marker(pytest.mark.exhaustive)
        elif on_tensorflow and (mark := item.get_closest_marker("slow_on_tensorflow")):
            quick_cases = mark.kwargs.get("quick_cases", 0)
            if cases[function] > quick_cases:
                item.add_marker(pytest.mark.slow)
                if quick_cases or cases[function] > mark.kwargs.get("cases", cases[function]):
                    item.add_marker(pytest.mark.exhaustive)


def pytest_collection_finish() -> None:
    """Leaves what was imported out of later garbage collections; Keras calls for many."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seed() -> None:
    """Seeds each test, so that it does not depend on the tests before it."""
    import keras

    keras.utils.set_random_seed(1234)


@pytest.fixture(scope="module", autouse=True)
def finish_file() -> Iterator[None]:
    """Leaves what a file's tests left out of later garbage collections, as after the imports.

    Also clears the functions that JAX compiled for it: Linux limits the memory maps of all.
    """
    yield
    import keras

    gc.collect()
    gc.freeze()
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()


@pytest.fixture
def eager() -> Iterator[None]:
    """Runs TensorFlow's functions eagerly, where tracing would take longer than the few steps."""
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data sets next to the checkout; tests that need it are skipped without it."""
    folder = Path(os.environ.get("KERAS_ATTENTION_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder} (KERAS_ATTENTION_DATA selects another folder)")
    return folder
