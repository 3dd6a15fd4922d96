"""Conversion of single operations to ONNX."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from keras import ops

from keras_attention.export import ExportError, Signature
from keras_attention.export.onnx.conversion import MAX_BYTES, convert

pytestmark = pytest.mark.tensorflow_only


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_slices_are_updated(dtype):
    def update(inputs):
        source, position = inputs["source"], inputs["position"]
        values = ops.cast(ops.ones((2, 1, 3)), dtype)
        return {"y": ops.slice_update(source, (0, position, 0), values)}

    specs = {
        "source": tf.TensorSpec((2, None, 3), dtype, name="source"),
        "position": tf.TensorSpec((), "int32", name="position"),
    }
    model = convert(Signature("update", update, specs))
    rng = np.random.default_rng(0)
    for length in (1, 4, 2):
        source = rng.integers(0, 2, (2, length, 3)).astype(dtype)
        for position in range(length):
            expected = source.copy()
            expected[:, position] = 1
            received = run(model, source=source, position=np.array(position, "int32"))["y"]
            np.testing.assert_array_equal(received, expected)
            assert received.dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_modulo_has_the_sign_of_the_divisor(dtype):
    spec = tf.TensorSpec((None,), dtype, name="source")
    model = convert(
        Signature("modulo", lambda inputs: {"y": inputs["source"] % 4}, {"source": spec})
    )
    source = np.arange(-9, 9).astype(dtype)
    np.testing.assert_array_equal(run(model, source=source)["y"], source % 4)


def test_gelu():
    spec = tf.TensorSpec((None,), "float32", name="source")
    function = lambda inputs: {"y": ops.gelu(inputs["source"], approximate=False)}  # noqa: E731
    source = np.linspace(-6, 6, 49, dtype="float32")
    expected = [x * 0.5 * math.erfc(-x / math.sqrt(2)) for x in source.tolist()]
    received = run(convert(Signature("gelu", function, {"source": spec})), source=source)["y"]
    np.testing.assert_allclose(received, expected, atol=1e-6)


def test_sizes_and_outputs_have_names():
    def function(inputs):
        return {"b": inputs["source"] + 1, "a": inputs["source"] * 2}

    spec = tf.TensorSpec((None, None), "int32", name="source")
    model = convert(Signature("both", function, {"source": spec}))
    (value,) = model.graph.input
    assert [size.dim_param for size in value.type.tensor_type.shape.dim] == ["batch", "length"]
    outputs = run(model, source=np.array([[3, 4]], "int32"))
    assert {name: x.tolist() for name, x in outputs.items()} == {"a": [[6, 8]], "b": [[4, 5]]}


def test_operations_that_onnx_lacks_are_refused():
    def function(inputs):
        return {"y": tf.linalg.svd(inputs["source"])[0]}

    spec = tf.TensorSpec((2, 2), "float32", name="source")
    with pytest.raises(ExportError, match="must convert to operations of ONNX. Received: .*Svd"):
        convert(Signature("svd", function, {"source": spec}))


def test_too_large_weights_are_refused():
    with pytest.raises(ExportError, match="at most 2147483647 bytes.* Received: 2147483648 bytes"):
        convert(Signature("large", dict, {}), num_bytes=MAX_BYTES + 1)
