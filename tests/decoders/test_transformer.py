"""The decoder contract: stepping with a cache gives the logits of `call`, whatever the block is."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.decoders import TransformerDecoder
from keras_attention.generation import BeamSearch, Generator
from keras_attention.generation.strategy import gather_beams
from keras_attention.layers import DecoderBlock, TokenEmbedding
from keras_attention.models import transformer

V, W = 11, 9  # source and target vocabulary
SOURCE = np.array([[5, 6, 7, 2, 0], [8, 9, 10, 4, 2]])
TARGET = np.array([[1, 4, 5, 6], [1, 7, 8, 0]])
STEPS, ROOM = 5, 7  # the cache has more slots than are used

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
every_option = pytest.mark.parametrize("option", OPTIONS)


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
    rng = np.random.default_rng(1)  # far from zero, so that every path shows in the logits
    for weight in model.weights:
        if "float" in weight.dtype:
            weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def encode(model, source=SOURCE):
    return model.encoder(source), model.encoder.compute_mask(source)


def walk(decoder, encoded, mask, parents):
    """Steps of beams that take one another's place, and what each that is left has behind it.

    `parents` is (steps, batch, beams). Returns ids (B, K, T), logits (B, K, T, V) and scores
    (B, K, T, S).
    """
    rng = np.random.default_rng(2)
    constants, state = decoder.start(encoded, mask, parents.shape[2], max_length=ROOM)
    past = None
    for t, parent in enumerate(parents):
        ids = rng.integers(4, W, parent.shape).astype("int32") if t else np.ones_like(parent)
        logits, state, scores = decoder.step(
            ops.convert_to_tensor(ids), t, state, constants, return_weights=True
        )
        assert all(x.shape[:2] == parent.shape for x in keras.tree.flatten(state))
        new = [x[:, :, None] for x in (ids, array(logits), array(scores))]
        past = new if past is None else [np.concatenate(x, 2) for x in zip(past, new, strict=True)]
        # as a strategy does it: state and past of the parent
        beams = ops.convert_to_tensor(parent)
        state = keras.tree.map_structure(lambda x, p=beams: gather_beams(x, p), state)
        past = [np.stack([x[p] for x, p in zip(xs, parent, strict=True)]) for xs in past]
    return past


def one_beam(target):
    """No beam takes another's place."""
    return np.zeros((target, 2, 1), "int32")


# Beams swap, one dies, one branches; not alike in both rows.
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


@every_option
def test_stepping_is_call_and_every_beam_has_its_own_past(option):
    model = make(option)
    encoded, mask = encode(model)
    ids, logits, scores = walk(model.decoder, encoded, mask, PARENTS)
    assert len(np.unique(ids.reshape(-1, STEPS), axis=0)) == 6
    encoded, mask = encode(model, np.repeat(SOURCE, 3, axis=0))  # a row for each beam
    expected = array(model.decoder(ids.reshape(6, STEPS), encoded, mask))
    assert expected.std() > 0.1
    np.testing.assert_allclose(logits.reshape(expected.shape), expected, rtol=1e-4, atol=2e-5)
    assert scores.shape == (2, 3, STEPS, 5) and (scores >= 0).all()
    np.testing.assert_allclose(scores.sum(-1), 1.0, atol=1e-5)
    assert (scores[0, ..., 4] == 0).all()  # the padding


@pytest.mark.parametrize("option", ["sinusoidal", "rotary-everything"])
def test_scores_are_the_mean_of_the_last_blocks_heads(option):
    model = make(option)
    encoded, mask = encode(model)
    decoder = model.decoder
    ids, _, scores = walk(decoder, encoded, mask, one_beam(4))
    x = decoder.embedding(ids[:, 0])
    for block in decoder.blocks:
        x, heads = block(x, encoded["sequence"], None, mask, return_attention_scores=True)
    heads = array(heads)
    assert heads.shape == (2, 4, 4, 5) and heads.std(1).max() > 0.05
    np.testing.assert_allclose(scores[:, 0], heads.mean(1), rtol=1e-4, atol=1e-6)


@every_option
def test_padding_on_either_side_changes_nothing(option):
    model = make(option)
    source, target = SOURCE[:1, :4], TARGET[:1]
    expected = array(model({"source": source, "target": target}))[0]
    padded = np.concatenate([np.pad(source, ((0, 0), side)) for side in ((0, 3), (3, 0), (2, 1))])
    targets = np.concatenate([np.pad(target, ((0, 0), side)) for side in ((0, 2), (2, 0), (1, 1))])
    got = array(model({"source": padded, "target": targets}))
    assert np.isfinite(got).all()
    for row, kept in zip(got, targets > 0, strict=True):
        np.testing.assert_allclose(row[kept], expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    "option",
    ["sinusoidal", "learned", "relative-grouped-window", "alibi-multi-query-post",
     "rotary-everything"],
)  # fmt: skip
def test_what_is_generated_does_not_know_the_side_of_the_padding(option):
    generate = Generator(
        make(option), BeamSearch(2, num_return_sequences=2, max_new_tokens=4), attention=True
    )
    source = SOURCE[:1, :4]
    alone = {name: array(x)[0] for name, x in generate(source).items()}
    padded = np.concatenate([np.pad(source, ((0, 0), side)) for side in ((0, 3), (3, 0))])
    found = {name: array(x) for name, x in generate(padded).items()}
    for row, kept in enumerate(padded > 0):
        np.testing.assert_array_equal(found["ids"][row], alone["ids"])
        np.testing.assert_allclose(found["scores"][row], alone["scores"], rtol=1e-4)
        looked = found["attention"][row]
        np.testing.assert_allclose(looked[..., kept], alone["attention"], rtol=1e-3, atol=1e-5)
        assert not looked[..., ~kept].any()


# The paper, in float64


def doubles(layer):
    return [array(weight).astype("float64") for weight in layer.weights]


def layer_norm(layer, x):
    """Ba et al. 2016, equation 4."""
    gain, bias = doubles(layer)
    x = x - x.mean(-1, keepdims=True)
    return gain * x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) + bias


def heads_of(query, keys, values, kept, output):
    """Vaswani et al. 2017, section 3.2: four heads, joined; and the mean of their weights."""
    contexts, weights = [], []
    for q, k, v in zip(*(np.split(x, 4, -1) for x in (query, keys, values)), strict=True):
        energies = np.where(kept, q @ k.T / np.sqrt(q.shape[-1]), -np.inf)  # equation 1
        energies = np.exp(energies - energies.max(-1, keepdims=True))
        weights.append(energies / energies.sum(-1, keepdims=True))
        contexts.append(weights[-1] @ v)
    kernel, bias = doubles(output)
    return np.concatenate(contexts, -1) @ kernel + bias, np.mean(weights, 0)


def attend_to_self(layer, x, kept):
    kernel, bias = doubles(layer.fused_dense)
    return heads_of(*np.split(x @ kernel + bias, 3, -1), kept, layer.output_dense)[0]


def attend(layer, x, encoded):
    projections = (layer.query_dense, x), (layer.key_dense, encoded), (layer.value_dense, encoded)
    projected = [y @ doubles(dense)[0] + doubles(dense)[1] for dense, y in projections]
    return heads_of(*projected, True, layer.output_dense)


def feed_forward(layer, x):
    """Equation 2."""
    (w1, b1), (w2, b2) = doubles(layer.inner), doubles(layer.outer)
    return np.maximum(0, x @ w1 + b1) @ w2 + b2


def embedded(embedding, ids):
    """Section 3.4, and the sinusoids of section 3.5."""
    table = doubles(embedding.tokens)[0]
    place, i = np.arange(len(ids))[:, None], np.arange(8)
    angles = place / 10000 ** (2 * i / 16)
    sinusoids = np.stack([np.sin(angles), np.cos(angles)], -1).reshape(len(ids), 16)
    return table[ids] * np.sqrt(16) + sinusoids, table


def around(norm, residual, x, sublayer):
    """Section 3.1, or Xiong et al. 2020, figure 1."""
    if norm == "post":
        return layer_norm(residual.norm_layer, x + sublayer(x))
    return x + sublayer(layer_norm(residual.norm_layer, x))


def transcription(model, norm, source, target):
    """Logits (T, V) and scores (T, S) of one sentence without padding."""
    x, _ = embedded(model.encoder.embedding, source)
    for b in model.encoder.body.blocks:
        x = around(norm, b.own, x, lambda x: attend_to_self(b.self_attention, x, True))  # noqa: B023
        x = around(norm, b.feed, x, lambda x: feed_forward(b.feed_forward, x))  # noqa: B023
    encoded = x if norm == "post" else layer_norm(model.encoder.body.norm[0], x)

    scores = []

    def look(layer, x):
        output, weights = attend(layer, x, encoded)
        scores.append(weights)
        return output

    x, table = embedded(model.decoder.embedding, target)
    before = np.tri(len(target), dtype=bool)
    for b in model.decoder.blocks:
        x = around(norm, b.own, x, lambda x: attend_to_self(b.self_attention, x, before))  # noqa: B023
        x = around(norm, b.cross, x, lambda x: look(b.cross_attention, x))  # noqa: B023
        x = around(norm, b.feed, x, lambda x: feed_forward(b.feed_forward, x))  # noqa: B023
    x = x if norm == "post" else layer_norm(model.decoder.norm[0], x)
    return x @ table.T, scores[-1]


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_it_is_the_model_of_the_paper(norm):
    model = make(norm=norm)
    got = array(model({"source": SOURCE, "target": TARGET}))
    ids, logits, scores = walk(model.decoder, *encode(model), one_beam(STEPS))
    for row in range(2):
        source = SOURCE[row][SOURCE[row] > 0]
        target = TARGET[row][TARGET[row] > 0]
        expected, _ = transcription(model, norm, source, target)
        np.testing.assert_allclose(got[row, : len(target)], expected, rtol=1e-4, atol=2e-5)
        expected, looked = transcription(model, norm, source, ids[row, 0])
        np.testing.assert_allclose(logits[row, 0], expected, rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(scores[row, 0, :, : len(source)], looked, rtol=1e-4, atol=1e-6)


# Mixed precision, small inputs, dropout, errors


@pytest.mark.parametrize(
    "option, policy",
    [
        ("sinusoidal", "mixed_float16"),
        ("rotary", "mixed_float16"),
        ("learned", "mixed_bfloat16"),
        ("relative", "mixed_bfloat16"),
        ("alibi", "mixed_bfloat16"),
    ],
)
def test_mixed_precision(option, policy):
    keras.config.set_dtype_policy(policy)
    try:
        half = make(option)
    finally:
        keras.config.set_dtype_policy("float32")
    encoded, mask = encode(half)
    # outside of any call, so without Keras's autocast scope
    ids, stepped, _ = walk(half.decoder, encoded, mask, one_beam(STEPS))
    logits = half.decoder(ids[:, 0], encoded, mask)
    assert keras.backend.standardize_dtype(logits.dtype) == half.decoder.compute_dtype
    expected = array(make(option)({"source": SOURCE, "target": ids[:, 0]}))
    apart = 0.01 if policy == "mixed_float16" else 0.08  # 10 and 7 bits behind the point
    np.testing.assert_allclose(array(logits), expected, atol=apart * np.abs(expected).max())
    np.testing.assert_allclose(stepped[:, 0], expected, atol=apart * np.abs(expected).max())


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
    logits = array(make(option)({"source": source, "target": target}))
    assert logits.shape == (*target.shape, W)
    assert np.isfinite(logits).all()


def test_dropout_is_there_in_training_alone():
    for rate in ("dropout", "attention_dropout", "intermediate_dropout"):
        embedding = TokenEmbedding(W, 16, output="tied")
        decoder = TransformerDecoder(embedding, DecoderBlock(4, 12, **{rate: 0.5}), 2)
        encoded = {"sequence": np.random.default_rng(0).normal(size=(2, 5, 8))}
        quiet = array(decoder(TARGET, encoded))
        np.testing.assert_array_equal(array(decoder(TARGET, encoded)), quiet)
        assert np.abs(array(decoder(TARGET, encoded, training=True)) - quiet).max() > 1e-4, rate


def test_stochastic_depth_grows_linearly_with_the_depth():
    block = DecoderBlock(4, 12, stochastic_depth=0.3)
    blocks = TransformerDecoder(TokenEmbedding(W, 16, output="tied"), block, 4).blocks
    rates = [b.own.depth.rate for b in blocks]
    np.testing.assert_allclose(rates, [0.0, 0.1, 0.2, 0.3])
    assert rates == [b.feed.depth.rate for b in blocks] == [b.cross.depth.rate for b in blocks]


def test_one_table_of_relative_positions_for_the_whole_stack():
    decoder = make("relative").decoder
    tables = [w for w in decoder.weights if tuple(w.shape) == (32, 4)]
    assert len(tables) == 1
    assert all(b.positions is decoder.blocks[0].positions for b in decoder.blocks)


def test_more_steps_than_positions():
    model = make("learned")
    encoded, mask = encode(model)
    with pytest.raises(ValueError, match="at most max_length=8 positions.*Received: 9"):
        model.decoder.start(encoded, mask, max_length=9)
    with pytest.raises(ValueError, match="at most max_length=8 positions.*Received: 9"):
        model.generate(np.full((1, 9), 5))


def test_it_needs_an_embedding_with_an_output_and_a_block():
    with pytest.raises(ValueError, match="embedding: .* Received: output=None"):
        TransformerDecoder(TokenEmbedding(W, 16), DecoderBlock(4, 12), 2)
    with pytest.raises(ValueError, match="num_layers.* Received: num_layers=0"):
        TransformerDecoder(TokenEmbedding(W, 16, output="tied"), DecoderBlock(4, 12), 0)
