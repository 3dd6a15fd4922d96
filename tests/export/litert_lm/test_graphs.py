"""The functions that LiteRT-LM runs: names and shapes, and logits against the model's."""

import numpy as np
import pytest

from keras_attention.export.litert_lm.graphs import list_functions
from keras_attention.export.litert_lm.lengths import Lengths
from keras_attention.export.tflite.conversion import convert
from keras_attention.export.tflite.flatbuffer import write_model
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.models import causal_lm
from small_transformers import VOCABULARY, small_model

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow_only]
MASKED = -0.7 * np.finfo("float32").max  # LiteRT-LM's in float32; in float16 it is -45824
MODELS = {
    "rotary, grouped heads": {"positions": "rotary", "num_key_value_heads": 1},
    "learned positions, post-LN": {"positions": "learned", "max_length": 16, "norm": "post"},
    "relative, windows": {"positions": "relative", "window": 3},
    "ALiBi, capped, normalized heads": {"positions": "alibi", "soft_cap": 3.0, "qk_norm": True},
}


def runner(model):
    return TFLiteRunner(write_model(convert(list_functions(model.decoder, Lengths((3, 5), 8)))))


def test_names_and_shapes():
    interpreter = runner(small_model(causal_lm, num_key_value_heads=1)).interpreter
    caches = {f"kv_cache_{kind}_{layer}": (1, 1, 8, 4) for kind in "kv" for layer in (0, 1)}
    for name, length in {"decode": 1, "prefill_3": 3, "prefill_5": 5}.items():
        function = interpreter.get_signature_runner(name)
        inputs, outputs = (
            {key: (tuple(about["shape"]), about["dtype"]) for key, about in details.items()}
            for details in (function.get_input_details(), function.get_output_details())
        )
        of_caches = {key: (shape, np.float32) for key, shape in caches.items()}
        assert inputs == {
            "tokens": ((1, length), np.int32),
            "input_pos": ((length,), np.int32),
            "mask": ((1, 1, length, 8), np.float32),
            **of_caches,
        }
        logits = {"logits": ((1, 1, len(VOCABULARY)), np.float32)} if length == 1 else {}
        assert outputs == {**of_caches, **logits}
    assert set(interpreter.get_signature_list()) == {"decode", "prefill_3", "prefill_5"}


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_the_models(name):
    """Chunks with padding, also beyond the caches, and single tokens between them."""
    model = small_model(causal_lm, **MODELS[name])
    run = runner(model)
    ids = np.random.default_rng(0).integers(4, len(VOCABULARY), 8)
    ids[0] = 1
    inputs = run.interpreter.get_signature_runner("decode").get_input_details()
    caches = {
        key: np.zeros(about["shape"], "float32")
        for key, about in inputs.items()
        if key.startswith("kv_cache")
    }
    expected, position = np.array(model(ids[None]))[0], 0
    for function, length, count in [
        ("prefill_5", 5, 4), ("decode", 1, 1), ("prefill_5", 5, 2), ("decode", 1, 1),
    ]:  # fmt: skip
        mask = np.full((1, 1, length, 8), MASKED, "float32")
        tokens, positions = np.zeros((1, length), "int32"), np.zeros(length, "int32")
        for i in range(count):
            tokens[0, i], positions[i] = ids[position + i], position + i
            mask[0, 0, i, : position + i + 1] = 0
        caches |= {"tokens": tokens, "input_pos": positions, "mask": mask}
        caches = run.call(function, caches)
        position += count
        if function == "decode":
            logits = caches.pop("logits")[0, 0]
            np.testing.assert_allclose(logits, expected[position - 1], rtol=1e-4, atol=1e-4)
    assert position == 8
