from types import SimpleNamespace

import numpy as np
import pytest

from keras_attention.layers import MultiHeadSelfAttention
from steps import causal_lm, generation, tflite
from steps.tflite_file import write_file

pytestmark = pytest.mark.tensorflow_only

SIZES = {"batch": 3, "source_length": 5, "tokens": 6, "max_new_tokens": 9, "layers": 1,
         "hidden_dim": 16, "heads": 2, "vocabulary": 50, "dtype_policy": "float32"}  # fmt: skip


@pytest.mark.parametrize("name", ["keras_attention", "keras_int8"])
def test_keras_model_generates_all_tokens(name):
    run = getattr(generation, name)(SimpleNamespace(**SIZES, num_beams=2))
    np.testing.assert_array_equal((run() > 0).sum(axis=-1)[:, 0], [6, 6, 6])


@pytest.mark.slow
@pytest.mark.parametrize("interpreters", [1, 2])
def test_tflite_generates_all_tokens(interpreters, tmp_path):
    options = {**SIZES, "num_beams": 2, "weights": "int8", "rows": 2, "threads": 1}
    file = tmp_path / "model.tflite"
    write_file(file, SimpleNamespace(**options))
    options |= {"file": str(file), "interpreters": interpreters}
    run = tflite.generation(SimpleNamespace(**options))
    np.testing.assert_array_equal((run() > 0).sum(axis=-1)[:, 0], [6, 6, 6])


def test_ctranslate2_generates_all_tokens():
    pytest.importorskip("ctranslate2")
    threads = {"weights": "int8", "inter_threads": 2, "intra_threads": 1}
    run = generation.ctranslate2(SimpleNamespace(**SIZES, **threads, num_beams=2))
    assert [len(result.hypotheses[0]) for result in run()] == [6, 6, 6]


@pytest.mark.parametrize("weights, size", [("float32", 4), ("int8", 1)])
def test_reading_the_weights_reads_those_of_the_decoder(weights, size, monkeypatch):
    options = SimpleNamespace(**SIZES, weights=weights)
    model = generation.random_transformer(options)
    # two of the eight matrices of a block's attention are read once for a source
    matrices = [x for x in model.decoder.trainable_weights if len(x.shape) == 2]
    count = sum(np.prod(x.shape) for x in matrices) - 2 * 16 * 16
    sizes = []
    monkeypatch.setattr(np, "ones", lambda n, dtype: sizes.append(n) or np.arange(n, dtype=dtype))
    run = generation.read_weights(options)
    assert sizes == [count * size // 4]
    assert max(run()) == sizes[0] - 1  # the last one is read, too


@pytest.mark.parametrize("whole_caches", [False, True])
def test_language_model_with_a_window_generates_all_tokens(whole_caches, monkeypatch):
    num_slots = MultiHeadSelfAttention.num_slots
    monkeypatch.setattr(MultiHeadSelfAttention, "num_slots", num_slots)  # set back by the fixture
    options = {**SIZES, "length": 4, "window": 3, "whole_caches": whole_caches}
    run = causal_lm.generation(SimpleNamespace(**options, num_beams=2))
    np.testing.assert_array_equal((run() > 0).sum(axis=-1)[:, 0], [6, 6, 6])
