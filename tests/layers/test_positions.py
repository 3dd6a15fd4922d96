"""Position encodings against NumPy written from the papers' equations."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.layers import (
    AlibiBias,
    PositionEncoding,
    RelativePositionBias,
    RotaryEmbedding,
)
from keras_attention.ops import masks
from keras_attention.ops.positions import alibi_slopes, relative_buckets, rotary, sinusoidal

H = 3
QUERIES = np.array([[4, 5], [-1, 200]])
KEYS = np.array([[0, 1, 4, 9], [-1, 0, 100, 200]])


def encodings():
    return [
        PositionEncoding(),
        RotaryEmbedding(base=500.0, scaling="ntk", factor=2.0),
        RelativePositionBias(H, num_buckets=8, max_distance=20, bidirectional=False),
        AlibiBias(H),
    ]


every_encoding = pytest.mark.parametrize("encoding", encodings(), ids=lambda x: type(x).__name__)


@every_encoding
def test_every_encoding_either_rotates_or_adds_a_bias(encoding):
    x = ops.array(np.random.default_rng(0).normal(size=(2, H, 2, 4)).astype("float32"))
    encoding.build(())
    rotates = not np.array_equal(array(encoding.rotate(x, ops.array(QUERIES))), array(x))
    bias = encoding.bias(ops.array(QUERIES), ops.array(KEYS))
    assert rotates == isinstance(encoding, RotaryEmbedding)
    assert (bias is None) == (type(encoding) in (PositionEncoding, RotaryEmbedding))


def test_rotary_embedding_passes_its_options():
    x = ops.array(np.random.default_rng(0).normal(size=(2, H, 2, 4)).astype("float32"))
    ours = RotaryEmbedding(500.0, "linear", 4.0).rotate(x, ops.array(QUERIES))
    expected = rotary(x, ops.array(QUERIES), 500.0, "linear", 4.0)
    np.testing.assert_array_equal(array(ours), array(expected))


@pytest.mark.parametrize("rows", [1, 2])
def test_alibi_bias_is_the_slope_times_the_distance(rows):
    expected = np.zeros((rows, H, 2, 4))
    for b, h, t, s in np.ndindex(expected.shape):
        expected[b, h, t, s] = -alibi_slopes(H)[h] * abs(QUERIES[b, t] - KEYS[b, s])
    ours = AlibiBias(H).bias(ops.array(QUERIES[:rows]), ops.array(KEYS[:rows]))
    np.testing.assert_allclose(array(ours), expected, rtol=1e-6)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative_position_bias_is_the_table_entry_of_the_bucket(bidirectional, rows):
    layer = RelativePositionBias(H, 8, 20, bidirectional)
    layer.build()
    table = np.random.default_rng(0).normal(size=(8, H)).astype("float32")
    layer.table.assign(table)
    distance = KEYS[:rows, None, :] - QUERIES[:rows, :, None]
    buckets = array(relative_buckets(ops.array(distance), 8, 20, bidirectional))
    ours = layer.bias(ops.array(QUERIES[:rows]), ops.array(KEYS[:rows]))
    np.testing.assert_array_equal(array(ours), table[buckets].transpose(0, 3, 1, 2))


def test_relative_position_bias_equals_t5():
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    from transformers import T5Config

    config = T5Config(d_model=8, d_kv=4, num_heads=H, relative_attention_max_distance=40)
    theirs = t5.T5Attention(config, has_relative_attention_bias=True)
    layer = RelativePositionBias(H, max_distance=40)
    layer.build()
    layer.table.assign(theirs.relative_attention_bias.weight.detach().numpy())
    ours = layer.bias(ops.expand_dims(ops.arange(50), 0), ops.expand_dims(ops.arange(60), 0))
    expected = theirs.compute_bias(50, 60).detach().numpy()
    np.testing.assert_array_equal(array(ours), expected)


def test_table_stays_in_float32_in_mixed_precision():
    class BiasLayer(keras.layers.Layer):
        def build(self, shape):
            self.positions = RelativePositionBias(H, dtype=self.dtype_policy)
            self.positions.build()

        def call(self, x):
            assert "bfloat16" in str(x.dtype)
            return self.positions.bias(ops.array(QUERIES), ops.array(KEYS))

    layer = BiasLayer(dtype="mixed_bfloat16")
    bias = layer(np.zeros((1, 1), "float32"))
    expected = layer.positions.bias(ops.array(QUERIES), ops.array(KEYS))
    assert "float32" in str(bias.dtype)
    np.testing.assert_array_equal(array(bias), array(expected))


@every_encoding
def test_config_restores_the_encoding(encoding):
    config = keras.saving.serialize_keras_object(encoding)
    restored = keras.saving.deserialize_keras_object(config)
    assert type(restored) is type(encoding) and restored.get_config() == encoding.get_config()


@keras.saving.register_keras_serializable(package="tests.positions")
class AddBias(keras.layers.Layer):
    """Minimal user of a position encoding."""

    def __init__(self, positions, **kwargs):
        super().__init__(**kwargs)
        self.positions = positions

    def build(self, shape):
        if not self.positions.built:
            self.positions.build(())

    def call(self, x):
        return x + self.positions.bias(ops.array(QUERIES), ops.array(KEYS))

    def get_config(self):
        positions = keras.saving.serialize_keras_object(self.positions)
        return {**super().get_config(), "positions": positions}

    @classmethod
    def from_config(cls, config):
        positions = keras.saving.deserialize_keras_object(config["positions"])
        return cls(**{**config, "positions": positions})


def test_table_is_saved_and_loaded(tmp_path):
    inputs = keras.Input((H, 2, 4), batch_size=2)
    positions = RelativePositionBias(H)
    model = keras.Model(inputs, AddBias(positions)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = positions.bias(ops.array(QUERIES), ops.array(KEYS))
    np.testing.assert_array_equal(array(loaded(np.zeros((2, H, 2, 4)))), array(expected))


@pytest.mark.parametrize(
    "make, received",
    [
        (lambda: RotaryEmbedding(base=0), "base=0"),
        (lambda: RotaryEmbedding(scaling="linear", factor=-1.0), "factor=-1.0"),
        (lambda: RotaryEmbedding(scaling="yarn"), "scaling='yarn'"),
        (lambda: RotaryEmbedding(factor=2.0), "scaling=None, factor=2.0"),
        (lambda: RelativePositionBias(0), "num_heads=0"),
        (lambda: RelativePositionBias(2, num_buckets=2), "num_buckets=2, max_distance=128"),
        (lambda: RelativePositionBias(2, max_distance=8), "num_buckets=32, max_distance=8"),
        (lambda: AlibiBias(-1), "num_heads=-1"),
    ],
)
def test_invalid_arguments_raise(make, received):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        make()


@pytest.mark.tensorflow_only
def test_tflite_with_dynamic_shapes(tmp_path):
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    relative = RelativePositionBias(H)
    relative.build()
    names = "rotary linear relative alibi sines halves sliding packed counted".split()

    def all_encodings(x, positions, segments):
        mask = masks.padding_mask(segments)
        results = (
            RotaryEmbedding().rotate(x, positions),
            RotaryEmbedding(scaling="linear", factor=2.0).rotate(x, positions),
            relative.bias(positions, positions),
            AlibiBias(H).bias(positions, positions),
            sinusoidal(positions, 6),
            sinusoidal(positions, 6, "halves"),
            masks.sliding_window_mask(positions, positions, 2),
            masks.segment_mask(segments, segments),
            masks.segment_positions(segments, mask),
        )
        return dict(zip(names, results, strict=True))

    signature = [
        tf.TensorSpec((None, H, None, 4), "float32"),
        tf.TensorSpec((None, None), "int32"),
        tf.TensorSpec((None, None), "int32"),
    ]
    archive = keras.export.ExportArchive()
    archive.track(relative)
    archive.add_endpoint("serve", all_encodings, input_signature=signature)
    archive.write_out(tmp_path, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    run = Interpreter(model_content=converter.convert()).get_signature_runner()
    for batch, length in [(1, 3), (2, 7)]:
        rng = np.random.default_rng(length)
        x = rng.normal(size=(batch, H, length, 4)).astype("float32")
        positions = rng.integers(0, 200, (batch, length)).astype("int32")
        segments = np.sort(rng.integers(0, 3, (batch, length))).astype("int32")
        expected = all_encodings(*map(tf.constant, (x, positions, segments)))
        got = run(x=x, positions=positions, segments=segments)
        assert sorted(got) == sorted(names)
        for name in names:
            np.testing.assert_allclose(got[name], array(expected[name]), atol=1e-5, err_msg=name)
