"""Transformer decoder: stepping against `call`, and the model against the paper's equations."""

import functools
from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from helpers import cases, compiled_on_jax, few_on_jax
from keras_attention.decoders import TransformerDecoder
from keras_attention.generation import BeamSearch, Generator
from keras_attention.generation.hypotheses import reorder_beams
from keras_attention.layers import DecoderBlock, TokenEmbedding, make_blocks
from keras_attention.models import transformer

V, W = 11, 9  # source and target vocabulary
SOURCE = np.array([[5, 6, 7, 2, 0], [8, 9, 10, 4, 2]])
TARGET = np.array([[1, 4, 5, 6], [1, 7, 8, 0]])
STEPS, MAX_LENGTH = 5, 7  # the cache has more slots than are used

GEMMA = {"norm": "sandwich", "norm_kind": "rms", "activation": "geglu", "use_bias": False}
OPTIONS = {
    "sinusoidal": {},
    "marian": {"positions": "marian"},
    "learned": {"positions": "learned", "max_length": 8},
    "rotary": {"positions": "rotary"},
    "relative": {"positions": "relative"},
    "alibi": {"positions": "alibi"},
    "none": {"positions": None},
    "post": {"norm": "post"},
    "sandwich": {"norm": "sandwich"},
    "pre-rms": {"norm_kind": "rms"},
    "post-rms": {"norm": "post", "norm_kind": "rms"},
    "sandwich-rms": {"norm": "sandwich", "norm_kind": "rms"},
    "grouped": {"num_key_value_heads": 2},
    "multi-query": {"num_key_value_heads": 1},
    "window": {"window": 2},
    "qk-norm": {"qk_norm": True},
    "soft-cap": {"soft_cap": 1.5},
    "swiglu": {"activation": "swiglu", "use_bias": False},
    "relative-grouped-window": {"positions": "relative", "num_key_value_heads": 2, "window": 3},
    "alibi-multi-query-post": {"positions": "alibi", "num_key_value_heads": 1, "norm": "post"},
    "rotary-everything": {
        "positions": "rotary", "num_key_value_heads": 2, "window": 3, "qk_norm": True,
        "soft_cap": 2.0, **GEMMA,
    },
}  # fmt: skip
OTHER_BACKENDS = few_on_jax(
    4,
    [
        "learned",
        "relative-grouped-window",
        "alibi-multi-query-post",
        "rotary-everything",
        "sinusoidal",
        "sandwich-rms",
        "swiglu",
    ],
)
every_option = pytest.mark.parametrize("option", cases(OPTIONS, OTHER_BACKENDS))


def make(option="sinusoidal", **more):
    options = {**OPTIONS[option], **more}
    model = transformer(
        V,
        W,
        "tiny",
        num_layers=2,
        hidden_dim=16,
        intermediate_dim=12,
        num_heads=4,
        dropout=0.0,
        **options,
    )
    rng = np.random.default_rng(1)  # large weights, so that all of them affect the logits
    for weight in model.weights:
        if "float" in weight.dtype:
            weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


@functools.cache
def shared_model(option):
    """Model of an option, for tests that do not change it."""
    return make(option)


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def encode(model, source=SOURCE):
    return compiled_on_jax(model.encoder)(source), model.encoder.compute_mask(source)


def decode(decoder, encoded, mask, parents):
    """Steps through random ids, reordering the beams after each step.

    `parents` is (steps, batch, beams). Returns the history of each final beam: ids (B, K, T),
    logits (B, K, T, V) and attention weights (B, K, T, S).
    """
    rng = np.random.default_rng(2)
    decoder = compiled_on_jax(decoder)
    constants, state = decoder.start(encoded, mask, parents.shape[2], max_length=MAX_LENGTH)
    history = None
    for t, parent in enumerate(parents):
        ids = rng.integers(4, W, parent.shape).astype("int32") if t else np.ones_like(parent)
        logits, state, weights = decoder.step(
            ops.convert_to_tensor(ids), np.int32(t), state, constants, return_weights=True
        )
        assert state.beams.shape[:2] == parent.shape
        new = [x[:, :, None] for x in (ids, array(logits), array(weights))]
        if history is None:
            history = new
        else:
            history = [np.concatenate(x, 2) for x in zip(history, new, strict=True)]
        # Like a search strategy: each beam continues its parent.
        state = reorder_beams(state, ops.convert_to_tensor(parent))
        history = [np.stack([x[p] for x, p in zip(xs, parent, strict=True)]) for xs in history]
    return history


def one_beam(steps):
    """Parents of a single beam."""
    return np.zeros((steps, 2, 1), "int32")


# Beams swap, one ends, one branches, differently in the two rows.
PARENTS = np.array(
    [
        [[0, 1, 2], [0, 1, 2]],
        [[1, 0, 2], [2, 0, 1]],
        [[0, 0, 1], [1, 2, 2]],
        [[2, 1, 0], [0, 1, 2]],
        [[0, 1, 2], [0, 1, 2]],
    ],
    "int32",
)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_option
def test_steps_of_reordered_beams_give_the_logits_of_call(option):
    model = shared_model(option)
    encoded, mask = encode(model)
    ids, logits, weights = decode(model.decoder, encoded, mask, PARENTS)
    assert len(np.unique(ids.reshape(-1, STEPS), axis=0)) == 6
    encoded, mask = encode(model, np.repeat(SOURCE, 3, axis=0))  # a row for each beam
    expected = array(compiled_on_jax(model.decoder)(ids.reshape(6, STEPS), encoded, mask))
    assert expected.std() > 0.1
    np.testing.assert_allclose(logits.reshape(expected.shape), expected, rtol=1e-4, atol=2e-5)
    assert weights.shape == (2, 3, STEPS, 5) and (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)
    assert (weights[0, ..., 4] == 0).all()  # padding


@pytest.mark.parametrize("option", ["sinusoidal", "rotary-everything"])
def test_weights_are_those_of_the_last_block_averaged_over_heads(option):
    model = shared_model(option)
    encoded, mask = encode(model)
    decoder = model.decoder
    ids, _, weights = decode(decoder, encoded, mask, one_beam(4))
    x = decoder.embedding(ids[:, 0])
    for block in decoder.blocks:
        x, heads = block(x, encoded["sequence"], None, mask, return_attention_scores=True)
    heads = array(heads)
    assert heads.shape == (2, 4, 4, 5) and heads.std(1).max() > 0.05
    np.testing.assert_allclose(weights[:, 0], heads.mean(1), rtol=1e-4, atol=1e-6)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_option
def test_padding_on_either_side_does_not_change_the_logits(option):
    model = compiled_on_jax(shared_model(option))
    source, target = SOURCE[:1, :4], TARGET[:1]
    expected = array(model({"source": source, "target": target}))[0]
    padded = np.concatenate([np.pad(source, ((0, 0), side)) for side in ((0, 3), (3, 0), (2, 1))])
    targets = np.concatenate([np.pad(target, ((0, 0), side)) for side in ((0, 2), (2, 0), (1, 1))])
    logits = array(model({"source": padded, "target": targets}))
    assert np.isfinite(logits).all()
    for row, mask in zip(logits, targets > 0, strict=True):
        np.testing.assert_allclose(row[mask], expected, rtol=1e-4, atol=2e-5)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize(
    "option",
    few_on_jax(
        2,
        [
            "learned",
            "rotary-everything",
            "sinusoidal",
            "relative-grouped-window",
            "alibi-multi-query-post",
        ],
    ),
)
def test_padding_on_either_side_does_not_change_the_output_text(option):
    generate = Generator(
        shared_model(option),
        BeamSearch(2, num_return_sequences=2, max_new_tokens=4),
        return_attention=True,
    )
    source = SOURCE[:1, :4]
    expected = {name: array(x)[0] for name, x in generate({"source": source}).items()}
    padded = np.concatenate([np.pad(source, ((0, 0), side)) for side in ((0, 3), (3, 0))])
    outputs = {name: array(x) for name, x in generate({"source": padded}).items()}
    for row, mask in enumerate(padded > 0):
        np.testing.assert_array_equal(outputs["ids"][row], expected["ids"])
        np.testing.assert_allclose(outputs["scores"][row], expected["scores"], rtol=1e-4)
        weights = outputs["attention"][row]
        np.testing.assert_allclose(weights[..., mask], expected["attention"], rtol=1e-3, atol=1e-5)
        assert not weights[..., ~mask].any()


# The equations of the paper, in float64


def float64_weights(layer):
    return [array(weight).astype("float64") for weight in layer.weights]


def layer_norm(layer, x):
    """Ba et al. 2016, equation 4."""
    gain, bias = float64_weights(layer)
    x = x - x.mean(-1, keepdims=True)
    return gain * x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) + bias


def multi_head_attention(query, keys, values, mask, output):
    """Vaswani et al. 2017, section 3.2, with four heads; and the mean of their weights."""
    contexts, weights = [], []
    for q, k, v in zip(*(np.split(x, 4, -1) for x in (query, keys, values)), strict=True):
        scores = np.where(mask, q @ k.T / np.sqrt(q.shape[-1]), -np.inf)  # equation 1
        exponentials = np.exp(scores - scores.max(-1, keepdims=True))
        weights.append(exponentials / exponentials.sum(-1, keepdims=True))
        contexts.append(weights[-1] @ v)
    kernel, bias = float64_weights(output)
    return np.concatenate(contexts, -1) @ kernel + bias, np.mean(weights, 0)


def self_attention(layer, x, mask):
    kernel, bias = float64_weights(layer.fused_dense)
    projected = np.split(x @ kernel + bias, 3, -1)
    return multi_head_attention(*projected, mask, layer.output_dense)[0]


def cross_attention(layer, x, encoded):
    projected = []
    inputs = (layer.query_dense, x), (layer.key_dense, encoded), (layer.value_dense, encoded)
    for dense, y in inputs:
        kernel, bias = float64_weights(dense)
        projected.append(y @ kernel + bias)
    return multi_head_attention(*projected, True, layer.output_dense)


def feed_forward(layer, x):
    """Equation 2."""
    (w1, b1), (w2, b2) = float64_weights(layer.inner), float64_weights(layer.outer)
    return np.maximum(0, x @ w1 + b1) @ w2 + b2


def embed(embedding, ids):
    """Section 3.4, and the sinusoids of section 3.5."""
    table = float64_weights(embedding.tokens)[0]
    positions, i = np.arange(len(ids))[:, None], np.arange(8)
    angles = positions / 10000 ** (2 * i / 16)
    sinusoids = np.stack([np.sin(angles), np.cos(angles)], -1).reshape(len(ids), 16)
    return table[ids] * np.sqrt(16) + sinusoids, table


def residual_connection(norm, residual, x, sublayer):
    """Section 3.1, or Xiong et al. 2020, figure 1."""
    if norm == "post":
        return layer_norm(residual.norm_layer, x + sublayer(x))
    return x + sublayer(layer_norm(residual.norm_layer, x))


def transformer_of_the_paper(model, norm, source, target):
    """Returns logits (T, V) and attention weights (T, S) of one sentence without padding."""
    x, _ = embed(model.encoder.embedding, source)
    for block in model.encoder.body.blocks:
        attend = partial(self_attention, block.self_attention, mask=True)
        x = residual_connection(norm, block.self_attention_residual, x, attend)
        transform = partial(feed_forward, block.feed_forward)
        x = residual_connection(norm, block.feed_forward_residual, x, transform)
    encoded = x if norm == "post" else layer_norm(model.encoder.body.final_norm, x)

    all_weights = []

    def attend_to_encoded(layer, x):
        output, weights = cross_attention(layer, x, encoded)
        all_weights.append(weights)
        return output

    x, table = embed(model.decoder.embedding, target)
    causal = np.tri(len(target), dtype=bool)
    for block in model.decoder.blocks:
        attend = partial(self_attention, block.self_attention, mask=causal)
        x = residual_connection(norm, block.self_attention_residual, x, attend)
        attend = partial(attend_to_encoded, block.cross_attention)
        x = residual_connection(norm, block.cross_attention_residual, x, attend)
        transform = partial(feed_forward, block.feed_forward)
        x = residual_connection(norm, block.feed_forward_residual, x, transform)
    x = x if norm == "post" else layer_norm(model.decoder.stack.final_norm, x)
    return x @ table.T, all_weights[-1]


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_model_follows_the_equations_of_the_paper(norm):
    model = make(norm=norm)
    output = array(compiled_on_jax(model)({"source": SOURCE, "target": TARGET}))
    ids, logits, weights = decode(model.decoder, *encode(model), one_beam(STEPS))
    for row in range(2):
        source = SOURCE[row][SOURCE[row] > 0]
        target = TARGET[row][TARGET[row] > 0]
        expected, _ = transformer_of_the_paper(model, norm, source, target)
        np.testing.assert_allclose(output[row, : len(target)], expected, rtol=1e-4, atol=2e-5)
        expected, expected_weights = transformer_of_the_paper(model, norm, source, ids[row, 0])
        np.testing.assert_allclose(logits[row, 0], expected, rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(
            weights[row, 0, :, : len(source)], expected_weights, rtol=1e-4, atol=1e-6
        )


# Mixed precision, small inputs, dropout, errors


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize(
    "option, policy",
    few_on_jax(
        2,
        [
            ("sinusoidal", "mixed_float16"),
            ("relative", "mixed_bfloat16"),
            ("rotary", "mixed_float16"),
            ("learned", "mixed_bfloat16"),
            ("alibi", "mixed_bfloat16"),
        ],
    ),
)
def test_mixed_precision(option, policy):
    keras.config.set_dtype_policy(policy)
    try:
        half = make(option)
    finally:
        keras.config.set_dtype_policy("float32")
    encoded, mask = encode(half)
    # outside of any call, thus without Keras's autocast scope
    ids, stepped, _ = decode(half.decoder, encoded, mask, one_beam(STEPS))
    logits = compiled_on_jax(half.decoder)(ids[:, 0], encoded, mask)
    assert keras.backend.standardize_dtype(logits.dtype) == half.decoder.compute_dtype
    expected = array(compiled_on_jax(shared_model(option))({"source": SOURCE, "target": ids[:, 0]}))
    tolerance = 0.01 if policy == "mixed_float16" else 0.08  # 10 and 7 bits of precision
    np.testing.assert_allclose(array(logits), expected, atol=tolerance * np.abs(expected).max())
    np.testing.assert_allclose(stepped[:, 0], expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize(
    "source, target",
    [
        (SOURCE[:1, 3:4], TARGET[:1, :1]),
        (SOURCE[:0], TARGET[:0]),
        (np.zeros((2, 3), int), TARGET),  # nothing to attend to
    ],
)
@pytest.mark.parametrize("option", ["sinusoidal", "rotary-everything", "relative", "alibi"])
def test_the_smallest_inputs(source, target, option):
    logits = array(compiled_on_jax(shared_model(option))({"source": source, "target": target}))
    assert logits.shape == (*target.shape, W)
    assert np.isfinite(logits).all()


def test_dropout_is_applied_in_training_only():
    for rate in ("dropout", "attention_dropout", "intermediate_dropout"):
        embedding = TokenEmbedding(W, 16, output="tied")
        decoder = TransformerDecoder(embedding, [DecoderBlock(4, 12, **{rate: 0.5})])
        encoded = {"sequence": np.random.default_rng(0).normal(size=(2, 5, 8))}
        inference = array(decoder(TARGET, encoded))
        np.testing.assert_array_equal(array(decoder(TARGET, encoded)), inference)
        training = array(decoder(TARGET, encoded, training=True))
        assert np.abs(training - inference).max() > 1e-4, rate


@pytest.mark.slow_on_tensorflow
def test_blocks_share_one_table_of_relative_positions_also_when_loaded(tmp_path):
    model = make("relative")
    tables = [w for w in model.decoder.weights if tuple(w.shape) == (32, 4)]
    assert len(tables) == 1
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == len(model.weights)
    inputs = {"source": SOURCE, "target": TARGET}
    np.testing.assert_allclose(array(loaded(inputs)), array(model(inputs)), atol=1e-6)
    loaded.decoder.stack.position_bias.table.assign(np.zeros((32, 4)))
    assert np.abs(array(loaded(inputs)) - array(model(inputs))).max() > 1e-2


def test_more_steps_than_positions_raise():
    model = make("learned")
    encoded, mask = encode(model)
    with pytest.raises(ValueError, match="at most max_length=8 positions.*Received: 9"):
        model.decoder.start(encoded, mask, max_length=9)
    with pytest.raises(ValueError, match="at most max_length=8 positions.*Received: 9"):
        model.generate(np.full((1, 9), 5))


def test_invalid_arguments_raise():
    with pytest.raises(ValueError, match="`embedding` .* Received: output=None"):
        TransformerDecoder(TokenEmbedding(W, 16), [DecoderBlock(4, 12)])
    with pytest.raises(ValueError, match="`blocks` must be a list of at least one block"):
        TransformerDecoder(TokenEmbedding(W, 16, output="tied"), [])


def test_config_restores_the_decoder():
    blocks = make_blocks(
        DecoderBlock, 3, num_heads=4, intermediate_dim=12, stochastic_depth=0.2, norm="post"
    )
    decoder = TransformerDecoder(TokenEmbedding(W, 16, output="tied"), blocks)
    config = keras.saving.serialize_keras_object(decoder)
    restored = keras.saving.deserialize_keras_object(config)
    assert restored.get_config() == decoder.get_config()
    assert [block.stochastic_depth for block in restored.blocks] == [0.0, 0.1, 0.2]
    assert restored.stack.final_norm is None
