"""Keras, SavedModel and TFLite return the same ids, scores and attention for all models."""

import numpy as np
import pytest
import tensorflow as tf

from helpers import convert, model_inputs, write_saved_model
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.generation import (
    BeamSearch,
    GenerationOutput,
    Generator,
    GreedySearch,
    Sampling,
)
from keras_attention.layers import (
    ContentAttention,
    DotAttention,
    LuongAttention,
    MonotonicAttention,
)
from keras_attention.models import transformer

BEAM = BeamSearch(
    3, coverage_penalty=0.1, num_return_sequences=2, max_new_tokens=9, length_ratio=1.5
)
SAMPLE = Sampling(top_k=5, top_p=0.9, seed=3, num_return_sequences=2, max_new_tokens=9)
LSTM = {"cell": "lstm", "encoder_layers": 2, "decoder_layers": 2}
LIMIT = 12
GEMMA = {"norm": "sandwich", "norm_kind": "rms", "activation": "swiglu", "use_bias": False}


def small_transformer(source, target, **options):
    sizes = {
        "size": "tiny",
        "num_layers": 2,
        "hidden_dim": 16,
        "intermediate_dim": 12,
        "num_heads": 4,
    }
    return transformer(source, target, **sizes, **options)


TRANSFORMER = {"build": small_transformer}

FAST = {
    "bahdanau, sampled": (SAMPLE, {"attention": "bahdanau", "tie_embeddings": True}),
    "transformer, rotary, grouped queries, sandwich": (
        BEAM,
        {**TRANSFORMER, "positions": "rotary", "num_key_value_heads": 2, **GEMMA},
    ),
}
SLOW = {
    "luong, input feeding, stacked LSTM": (
        BEAM,
        {"attention": "luong", "input_feeding": True, **LSTM},
    ),
    "monotonic, hard": (BEAM, {"attention": lambda: MonotonicAttention(8, mode="hard")}),
    "bahdanau": (BEAM, {"attention": "bahdanau"}),
    "bahdanau, greedy": (GreedySearch(9), {"attention": "bahdanau"}),
    "luong, added": (BEAM, {"attention": "luong", "combine": "add"}),
    "same context at every step": (BEAM, {"attention": "fixed"}),
    "no attention, source reversed": (BEAM, {"attention": None, "reverse_source": True}),
    "dot": (BEAM, {"attention": lambda: LuongAttention("dot", scale=True)}),
    "general, local-m": (
        BEAM,
        {"attention": lambda: LuongAttention("general", window="local-m", window_width=2)},
    ),
    "concat, local-p": (
        BEAM,
        {"attention": lambda: LuongAttention("concat", window="local-p", window_width=2)},
    ),
    "location": (BEAM, {"attention": lambda: LuongAttention("location", max_length=LIMIT)}),
    "content": (BEAM, {"attention": ContentAttention}),
    "scaled dot": (BEAM, {"attention": DotAttention}),
    "monotonic, parallel": (BEAM, {"attention": lambda: MonotonicAttention(8, mode="parallel")}),
    "monotonic, recursive": (BEAM, {"attention": lambda: MonotonicAttention(8, mode="recursive")}),
    "transformer": (BEAM, TRANSFORMER),
    "transformer, post, marian, sampled": (
        SAMPLE,
        {**TRANSFORMER, "norm": "post", "positions": "marian", "activation": "gelu"},
    ),
    "transformer, learned, greedy": (
        GreedySearch(9),
        {**TRANSFORMER, "positions": "learned", "max_length": LIMIT},
    ),
    "transformer, relative, multi-query, RMS": (
        BEAM,
        {**TRANSFORMER, "positions": "relative", "num_key_value_heads": 1, "norm_kind": "rms"},
    ),
    "transformer, ALiBi, window": (BEAM, {**TRANSFORMER, "positions": "alibi", "window": 3}),
    "transformer, no positions, QK norm, soft cap": (
        BEAM,
        {**TRANSFORMER, "positions": None, "qk_norm": True, "soft_cap": 5.0, "activation": "geglu"},
    ),
}


@pytest.mark.parametrize(
    ("strategy", "options"),
    [pytest.param(*family, id=name) for name, family in FAST.items()]
    + [pytest.param(*family, id=name, marks=pytest.mark.slow) for name, family in SLOW.items()],
)
def test_exports_equal_the_model(make_translator, tmp_path, strategy, options):
    attention = options.get("attention")
    layers = {"attention": attention(), "decoder_cell": "luong"} if callable(attention) else {}
    task = make_translator(strategy, max_source_length=LIMIT, **{**options, **layers})
    write_saved_model(task, tmp_path / "saved")
    details = tf.saved_model.load(str(tmp_path / "saved")).signatures["details"]
    (tmp_path / "model.tflite").write_bytes(convert(task))
    runner = TFLiteRunner(tmp_path)
    # As `model.generate`, compiled once for all shapes.
    generator = Generator(task.model, strategy, attention=True)
    generate = tf.function(
        lambda source: generator({"source": source}),
        [tf.TensorSpec((None, None), tf.int32)],
        autograph=False,
    )

    longest = ("abc de" * LIMIT)[:LIMIT]  # and END: one more than the limit
    for texts in (["a"], ["abcdea"], [longest], ["", "abcdea", "ab", longest, "eä x"]):
        source = model_inputs(task, texts)
        assert source.shape[1] <= LIMIT
        expected = GenerationOutput(**{name: x.numpy() for name, x in generate(source).items()})
        names = np.array(["", *task.target_tokenizer.vocabulary[1:]])

        saved = details(text=tf.constant(texts))
        tokens = [[[t.decode() for t in row] for row in n] for n in saved["target_tokens"].numpy()]
        assert tokens == names[expected.ids].tolist()
        np.testing.assert_allclose(saved["score"], expected.scores, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(saved["attention"], expected.attention, atol=1e-5)

        outputs = GenerationOutput(**runner(source, details=True))
        np.testing.assert_array_equal(outputs.ids, expected.ids)
        np.testing.assert_allclose(outputs.scores, expected.scores, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(outputs.attention, expected.attention, atol=1e-5)
        best = GenerationOutput(**runner(source))
        np.testing.assert_array_equal(best.ids, expected.ids)
        np.testing.assert_allclose(best.scores, expected.scores, rtol=1e-5, atol=1e-5)
    assert len({row.tobytes() for row in expected.ids}) > 1  # else the comparison would show little
