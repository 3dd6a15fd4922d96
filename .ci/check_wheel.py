"""Checks the installed wheel in an environment with Keras and JAX and nothing else.

Run it outside the checkout, with KERAS_BACKEND=jax, in the environment of the wheel. It checks that
layers train in `model.fit`, that models build and generate, that a part without its extra names
the extra, and that start-up is fast.
"""

import importlib
import importlib.util
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ABSENT = ("tensorflow", "tensorflow_text", "torch", "matplotlib", "sacrebleu", "ai_edge_litert")
MAX_IMPORT_SECONDS = 0.2  # beyond `import keras`
MAX_HELP_SECONDS = 1.0
TIMED_IMPORT = """
import time
import keras
start = time.perf_counter()
import keras_attention
print(time.perf_counter() - start)
"""


def check_environment() -> None:
    import keras

    import keras_attention

    assert keras.backend.backend() == "jax"
    installed = [name for name in ABSENT if importlib.util.find_spec(name)]
    assert not installed, f"should not be installed here: {installed}"
    folder = Path(keras_attention.__file__).parent
    assert folder.is_relative_to(sysconfig.get_path("purelib")), folder
    assert (folder / "py.typed").is_file()


def check_layer_in_fit() -> None:
    import keras
    import numpy as np

    from keras_attention.layers import BahdanauAttention, MultiHeadSelfAttention

    query, value = keras.Input((None, 8)), keras.Input((None, 6))
    context = BahdanauAttention(units=4)(query, value)
    hidden = MultiHeadSelfAttention(num_heads=2, key_dim=4)(keras.layers.Dense(8)(context))
    model = keras.Model([query, value], keras.layers.Dense(1)(hidden))
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(4, 3, 8)), rng.normal(size=(4, 5, 6))]
    history = model.fit(inputs, np.zeros((4, 3, 1)), epochs=5, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]


def check_models() -> None:
    import numpy as np

    from keras_attention.generation import BeamSearch, GreedySearch
    from keras_attention.models import seq2seq, transformer
    from keras_attention.training import MaskedCrossEntropy

    source = np.array([[5, 6, 7, 2], [8, 9, 2, 0]])
    inputs = {"source": source, "target": np.array([[1, 5, 6, 7], [1, 8, 9, 0]])}
    models = {
        "transformer": transformer(16, 16, "tiny"),
        "seq2seq": seq2seq(16, 16, embedding_dim=8, units=8),
    }
    for name, model in models.items():
        model.compile("adam", MaskedCrossEntropy())
        history = model.fit(inputs, source, epochs=2, verbose=0)
        assert np.isfinite(history.history["loss"]).all(), name
        for strategy in (GreedySearch(max_new_tokens=6), BeamSearch(2, max_new_tokens=6)):
            ids = np.asarray(model.generate(source, strategy).ids)
            assert ids.shape[0] == 2 and ids.max() < 16, (name, ids)


def check_missing_extras() -> None:
    for part, extra in (
        ("text", "text"),
        ("images", "tensorflow"),
        ("export", "export"),
        ("viz", "viz"),
        ("metrics", "metrics"),
        ("tasks", "text"),
        ("recipes", "text"),
    ):
        try:
            importlib.import_module(f"keras_attention.{part}")
        except ImportError as error:
            message = str(error)
            assert f"the extra `{extra}`" in message, message
        else:
            raise AssertionError(f"keras_attention.{part} was imported without its extra")


def check_startup() -> None:
    imports = [
        float(subprocess.run([sys.executable, "-c", TIMED_IMPORT], **CAPTURE).stdout)
        for _ in range(3)
    ]
    print(f"import keras_attention: {min(imports):.2f} s beyond `import keras`")
    assert min(imports) <= MAX_IMPORT_SECONDS, imports

    command = Path(sys.executable).with_name("keras-attention")
    helps = []
    for _ in range(3):
        start = time.perf_counter()
        shown = subprocess.run([command, "--help"], **CAPTURE).stdout
        helps.append(time.perf_counter() - start)
        assert "demo" in shown
    print(f"keras-attention --help: {min(helps):.2f} s")
    assert min(helps) < MAX_HELP_SECONDS, helps

    module = [sys.executable, "-m", "keras_attention", "--help"]
    assert "demo" in subprocess.run(module, **CAPTURE).stdout


CAPTURE = {"capture_output": True, "text": True, "check": True}
CHECKS = (check_environment, check_layer_in_fit, check_models, check_missing_extras, check_startup)

if __name__ == "__main__":
    for check in CHECKS:
        check()
        print(f"{check.__name__}: passed", flush=True)
