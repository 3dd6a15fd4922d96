"""Graphs for transformers.js: names, weights, and the first step."""

import numpy as np
import onnx
import onnxruntime
import pytest

from keras_attention.export.transformers_js.graphs import convert_decoder
from keras_attention.generation import GreedySearch
from keras_attention.models import transformer
from keras_attention.ops.ids import END, PAD, START
from small_transformers import VOCABULARY, small_model

pytestmark = pytest.mark.tensorflow_only
SIZES = {"hidden_dim": 32, "intermediate_dim": 64}


@pytest.fixture(scope="module")
def model():
    model = small_model(transformer, **SIZES)
    rng = np.random.default_rng(6)
    for weight in model.trainable_weights:  # large, so that outputs differ
        weight.assign(rng.normal(0, 0.8, weight.shape))
    return model


@pytest.fixture(scope="module")
def converted(model) -> onnx.ModelProto:
    return convert_decoder(model)


@pytest.fixture(scope="module")
def run(converted):
    session = onnxruntime.InferenceSession(
        converted.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def test_names_and_shapes(converted):
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*converted.graph.input, *converted.graph.output)
    }
    caches = {}
    for layer in range(2):
        for array in ("key", "value"):
            for kind, length in (
                ("past_key_values", "past_decoder_sequence_length"),
                ("present", "decoder_sequence_length"),
            ):
                caches[f"{kind}.{layer}.decoder.{array}"] = ["batch_size", 2, length, 16]
                of_encoder = ["batch_size", 2, "encoder_sequence_length", 16]
                caches[f"{kind}.{layer}.encoder.{array}"] = of_encoder
    assert shapes == {
        "input_ids": ["batch_size", 1],
        "encoder_hidden_states": ["batch_size", "encoder_sequence_length", 32],
        "encoder_attention_mask": ["batch_size", "encoder_sequence_length"],
        "use_cache_branch": [1],
        "logits": ["batch_size", 1, len(VOCABULARY)],
        **caches,
    }


def test_weights_are_in_the_outer_graph_once(converted, model):
    def sizes(graph):
        return [np.prod(each.dims) for each in graph.initializer]

    (branches,) = (node.attribute for node in converted.graph.node if node.op_type == "If")
    assert all(max(sizes(branch.g), default=0) < 8 for branch in branches)
    num_weights = sum(np.prod(weight.shape) for weight in model.decoder.weights)
    assert num_weights <= sum(sizes(converted.graph)) < 1.1 * num_weights


@pytest.mark.parametrize("length", [0, 1, 3])
def test_first_step_ignores_the_past(length, run, model):
    """transformers.js passes caches of length 0, Optimum those of length 1."""
    source = np.random.default_rng(0).integers(4, len(VOCABULARY), (2, 6)).astype("int32")
    source[:, -1] = END
    source[1, 3:] = [END, PAD, PAD]
    past = {
        f"past_key_values.{layer}.{side}.{array}": np.full((2, 2, length, 16), np.nan, "float32")
        for layer in range(2)
        for side in ("decoder", "encoder")
        for array in ("key", "value")
    }
    inputs = {
        "encoder_hidden_states": np.array(model.encoder(source)["sequence"]),
        "encoder_attention_mask": (source != PAD).astype("int64"),
    }
    expected = np.array(model.generate(source, GreedySearch(max_new_tokens=8)).ids)[:, 0]
    last, use_cache, received = np.full((2, 1), START), False, []
    for _ in range(8):
        outputs = run(
            {**inputs, **past, "input_ids": last, "use_cache_branch": np.array([use_cache])}
        )
        logits = outputs.pop("logits")
        logits[..., [PAD, START]] = -np.inf
        last, use_cache = logits.argmax(-1), True
        received.append(last)
        past = {name.replace("present", "past_key_values"): x for name, x in outputs.items()}
    ended = np.cumsum(expected == END, axis=1) - (expected == END) > 0
    np.testing.assert_array_equal(np.concatenate(received, axis=1), np.where(ended, END, expected))
    assert len(np.unique(expected)) > 2
