"""The blocks against float64 NumPy written from the equations, and against PyTorch's."""

import keras
import numpy as np
import pytest
import torch
from keras import ops

from helpers import array
from keras_attention.layers import (
    AlibiBias,
    DecoderBlock,
    EncoderBlock,
    RelativePositionBias,
    RotaryEmbedding,
)

B, T, S, D, E, F, H = 2, 4, 5, 8, 6, 12, 2
KEPT = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], bool)
ENCODED_KEPT = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
SCHEMES = {
    "none": lambda: None,
    "rotary": RotaryEmbedding,
    "relative": lambda: RelativePositionBias(H),
    "alibi": lambda: AlibiBias(H),
}
every_norm = pytest.mark.parametrize("norm", ["pre", "post", "sandwich"])
every_kind = pytest.mark.parametrize("kind", ["layer", "rms"])


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def made(cls, *shapes, **options):
    """A built block, all of whose weights are far from zero and from one."""
    block = cls(**{"num_heads": H, "intermediate_dim": F, **options})
    block.build(*shapes)
    rng = np.random.default_rng(1)
    block.set_weights([rng.normal(size=w.shape) * 0.5 for w in block.get_weights()])
    return block


def assert_same(got, want, atol=1e-5):
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(array(a), array(b), rtol=1e-4, atol=atol)


class Equations:
    """Vaswani et al. 2017, figure 1, and where later papers put the norms."""

    def __init__(self, block, norm, kind):
        self.norm, self.kind = norm, kind
        self.weights = {
            weight.path.removeprefix(f"{block.name}/"): array(weight).astype("float64")
            for weight in block.weights
        }

    def linear(self, name, x):
        return x @ self.weights[f"{name}/kernel"] + self.weights[f"{name}/bias"]

    def normed(self, name, x):
        if self.kind == "rms":
            return (
                x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * self.weights[f"{name}/scale"]
            )
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
        return x * self.weights[f"{name}/gamma"] + self.weights[f"{name}/beta"]

    def around(self, name, x, sublayer):
        if self.norm == "post":
            return self.normed(f"{name}/norm", x + sublayer(x))
        added = sublayer(self.normed(f"{name}/norm", x))
        return x + (added if self.norm == "pre" else self.normed(f"{name}/second_norm", added))

    def attention(self, name, q, k, v, kept):
        q, k, v = (np.moveaxis(x.reshape(*x.shape[:2], H, -1), 1, 2) for x in (q, k, v))
        exponentials = np.exp(q @ np.moveaxis(k, 2, 3) / np.sqrt(D // H)) * kept[:, None]
        self.scores = exponentials / exponentials.sum(-1, keepdims=True)
        heads = np.moveaxis(self.scores @ v, 1, 2)
        return self.linear(f"{name}/output", heads.reshape(*heads.shape[:2], -1))

    def to_self(self, kept):
        name = "self_attention"
        return lambda x: self.attention(
            name, *np.split(self.linear(f"{name}/query_key_value", x), 3, axis=-1), kept
        )

    def to_encoded(self, encoded, kept):
        name = "cross_attention"
        keys, values = (self.linear(f"{name}/{part}", encoded) for part in ("key", "value"))
        return lambda x: self.attention(
            name, self.linear(f"{name}/query", x), keys, values, kept[:, None]
        )

    def feed_forward(self, x):
        return self.linear(
            "feed_forward/outer", np.maximum(self.linear("feed_forward/inner", x), 0)
        )


@every_norm
@every_kind
def test_an_encoder_block_is_the_equations(norm, kind):
    x, limit = data(B, T, D), np.tri(T, T, 1, dtype=bool)
    block = made(EncoderBlock, x.shape, norm=norm, norm_kind=kind)
    got = block(x, mask=KEPT, attention_mask=limit, return_attention_scores=True)
    paper = Equations(block, norm, kind)
    want = paper.around("own", x.astype("float64"), paper.to_self(KEPT[:, None] & limit))
    want = paper.around("feed", want, paper.feed_forward)
    assert_same(got, (want, paper.scores))
    np.testing.assert_array_equal(array(block(x, mask=KEPT, attention_mask=limit)), array(got[0]))


@every_norm
@every_kind
@pytest.mark.parametrize("cross", [True, False])
def test_a_decoder_block_is_the_equations(norm, kind, cross):
    x, encoded = data(B, T, D), data(B, S, E, seed=1)
    looked_at = [encoded] if cross else []
    block = made(
        DecoderBlock, x.shape, *[x.shape for x in looked_at],
        norm=norm, norm_kind=kind, cross_attention=cross,
    )  # fmt: skip
    masks = {"mask": KEPT, **({"encoded_mask": ENCODED_KEPT} if cross else {})}
    got = block(x, *looked_at, **masks, return_attention_scores=True)
    paper = Equations(block, norm, kind)
    seen = KEPT[:, None] & np.tri(T, dtype=bool)
    want = paper.around("own", x.astype("float64"), paper.to_self(seen))
    if cross:
        want = paper.around("cross", want, paper.to_encoded(encoded, ENCODED_KEPT))
    scores = paper.scores
    want = paper.around("feed", want, paper.feed_forward)
    assert_same(got, (want, scores))


# PyTorch


def of_torch(layer):
    return {name: value.numpy() for name, value in layer.state_dict().items()}


def fill_from_torch(block, state, norms):
    """PyTorch's kernels are (out, in); its norms have numbers."""
    pairs = {"feed_forward/inner": "linear1", "feed_forward/outer": "linear2"}
    pairs["self_attention/output"] = "self_attn.out_proj"
    pairs["cross_attention/output"] = "multihead_attn.out_proj"
    pairs |= {f"{name}/norm": norm for name, norm in norms.items()}
    given = {}
    for ours, theirs in pairs.items():
        if f"{theirs}.weight" in state:
            kernel, bias = state[f"{theirs}.weight"], state[f"{theirs}.bias"]
            given |= {f"{ours}/kernel": kernel.T, f"{ours}/bias": bias}
            given |= {f"{ours}/gamma": kernel, f"{ours}/beta": bias}
    given["self_attention/query_key_value/kernel"] = state["self_attn.in_proj_weight"].T
    given["self_attention/query_key_value/bias"] = state["self_attn.in_proj_bias"]
    if "multihead_attn.in_proj_weight" in state:
        kernels = np.split(state["multihead_attn.in_proj_weight"], 3)
        biases = np.split(state["multihead_attn.in_proj_bias"], 3)
        for part, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True):
            given[f"cross_attention/{part}/kernel"] = kernel.T
            given[f"cross_attention/{part}/bias"] = bias
    for weight in block.weights:
        weight.assign(given[weight.path.removeprefix(f"{block.name}/")])


def torch_layer(cls, norm, activation):
    torch.manual_seed(0)
    layer = cls(D, H, F, 0.0, activation, norm_first=norm == "pre", batch_first=True)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.normal_(std=0.5)
    return layer  # in training mode, whose dropout is 0: the fast path has another meaning of masks


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_encoder_block_is_pytorchs(norm, activation):
    theirs = torch_layer(torch.nn.TransformerEncoderLayer, norm, activation)
    block = EncoderBlock(H, F, norm=norm, activation=activation)
    x = data(B, T, D)
    block.build(x.shape)
    fill_from_torch(block, of_torch(theirs), {"own": "norm1", "feed": "norm2"})
    with torch.no_grad():
        want = theirs(torch.from_numpy(x), src_key_padding_mask=torch.from_numpy(~KEPT)).numpy()
    assert_same((block(x, mask=KEPT),), (want,))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_decoder_block_is_pytorchs(norm, activation):
    theirs = torch_layer(torch.nn.TransformerDecoderLayer, norm, activation)
    block = DecoderBlock(H, F, norm=norm, activation=activation)
    x, encoded = data(B, T, D), data(B, S, D, seed=1)
    block.build(x.shape, encoded.shape)
    fill_from_torch(block, of_torch(theirs), {"own": "norm1", "cross": "norm2", "feed": "norm3"})
    with torch.no_grad():
        want = theirs(
            torch.from_numpy(x),
            torch.from_numpy(encoded),
            tgt_mask=torch.from_numpy(~np.tri(T, dtype=bool)),
            tgt_key_padding_mask=torch.from_numpy(~KEPT),
            memory_key_padding_mask=torch.from_numpy(~ENCODED_KEPT),
        ).numpy()
    assert_same((block(x, encoded, mask=KEPT, encoded_mask=ENCODED_KEPT),), (want,))


# Stepping


@every_norm
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("cross", [True, False])
def test_steps_of_beams_are_the_whole_pass(norm, scheme, cross):
    """Two beams of different pasts, with grouped queries and a window."""
    beams, batch = 2, 3
    x, encoded = data(batch * beams, T, D), data(batch, S, E, seed=1)
    options = {"num_key_value_heads": 1, "window": 3, "norm": norm, "cross_attention": cross}
    looked_at = [encoded] if cross else []
    block = made(
        DecoderBlock, x.shape, *[x.shape for x in looked_at],
        positions=SCHEMES[scheme](), **options,
    )  # fmt: skip
    tiled = [np.repeat(x, beams, axis=0) for x in looked_at]
    want, want_scores = map(array, block(x, *tiled, return_attention_scores=True))

    memory = block.memory(*looked_at or [None])
    shape = (batch, beams, 1, T, D // H)
    attention = block.self_attention
    empty = attention.memory(np.zeros((1, T, D), "float32"))
    cache = empty._replace(values=ops.zeros(shape), keys=ops.zeros(shape))  # in T slots
    for t in range(T):
        one, cache, scores = block.step(
            ops.convert_to_tensor(np.reshape(x[:, t], (batch, beams, D))), memory, cache,
            mask=(np.arange(T) <= t)[None, None], position=np.array([[t]], "int32"), slot=t,
        )  # fmt: skip
        assert_same((ops.reshape(one, (-1, D)),), (want[:, t],))
        scores = array(scores)  # (batch, H, beams, S) or (batch * beams, H, 1, T)
        if cross:
            scores = np.moveaxis(scores, 2, 1).reshape(batch * beams, H, 1, S)
        np.testing.assert_allclose(scores[:, :, 0], want_scores[:, :, t], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cross", [True, False])
def test_read_gives_the_cache_of_the_steps(cross):
    x, looked_at = data(B, T, D), [data(B, S, E, seed=1)] if cross else []
    shapes = [each.shape for each in (x, *looked_at)]
    block = made(DecoderBlock, *shapes, positions=RotaryEmbedding(), cross_attention=cross)
    memory = block.memory(*looked_at or [None])
    causal = np.tri(T, dtype=bool)[None]
    want, _, _ = block.read(x, memory, causal)
    _, own, _ = block.read(x[:, : T - 1], memory, causal[:, : T - 1, : T - 1])
    room = ((0, 0), (0, 0), (0, 1), (0, 0))
    cache = own._replace(
        values=ops.expand_dims(ops.pad(own.values, room), 1),
        keys=ops.expand_dims(ops.pad(own.keys, room), 1),
        positions=np.arange(T, dtype="int32")[None],
    )
    last = np.array([[T - 1]], "int32")
    got, _, _ = block.step(x[:, T - 1 :], memory, cache, np.ones((1, 1, T), bool), last, T - 1)
    assert_same((got,), (want[:, T - 1 :],))


def test_a_window_is_of_self_attention_alone():
    """The scores of cross-attention have all of a longer source in sight."""
    x, encoded = data(B, T, D), data(B, S, E, seed=1)
    block = made(DecoderBlock, x.shape, encoded.shape, window=1)
    y, scores = block(x, encoded, return_attention_scores=True)
    assert block.self_attention.window == 1 and block.cross_attention.window is None
    assert array(scores).shape == (B, H, T, S) and (array(scores) > 0).all()
    changed = np.array(x)
    changed[:, :-1] += 1  # a window of 1 is oneself
    np.testing.assert_allclose(array(block(changed, encoded))[:, -1], array(y)[:, -1], atol=1e-6)


# What Keras asks of a layer

ALL = {
    "dropout": 0.1, "attention_dropout": 0.2, "intermediate_dropout": 0.3, "norm": "sandwich",
    "norm_kind": "rms", "activation": "swiglu", "num_key_value_heads": 1, "use_bias": False,
    "qk_norm": True, "soft_cap": 5.0, "window": 3, "stochastic_depth": 0.4,
}  # fmt: skip


@pytest.mark.parametrize("cls", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_comes_back_from_its_config(cls, scheme):
    shapes = [(B, T, D), (B, S, E)] if cls is DecoderBlock else [(B, T, D)]
    block = made(cls, *shapes, positions=SCHEMES[scheme](), **ALL)
    assert ALL.items() <= block.get_config().items()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(block))
    assert again.get_config() == block.get_config()
    again.set_weights(block.get_weights())
    inputs = [data(*shape) for shape in shapes]
    np.testing.assert_array_equal(array(again(*inputs)), array(block(*inputs)))


def test_they_train_with_an_empty_source_and_reload(tmp_path):
    source, target = (keras.Input((None,), dtype="int32", name=n) for n in ("source", "target"))
    embed = keras.layers.Embedding(9, D, mask_zero=True)
    encoded, own = EncoderBlock(H, F, **{**ALL, "stochastic_depth": 0.1})(
        embed(source), return_attention_scores=True
    )
    x, scores = DecoderBlock(H, F, positions=RelativePositionBias(H), stochastic_depth=0.1)(
        embed(target), encoded, return_attention_scores=True
    )
    assert own.shape == (None, H, None, None) and scores.shape == (None, H, None, None)
    assert x.shape == (None, None, D)
    model = keras.Model([source, target], keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.Adam(0.01), "mse")  # moves with the smallest gradient
    ids = [np.array([[0] * S, [3, 4, 5, 0, 0]]), np.array([[1, 4, 5, 6], [1, 3, 0, 0]])]
    before = model.get_weights()
    history = model.fit(ids, np.ones((B, T, 1)), epochs=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for weight, old, new in zip(model.weights, before, model.get_weights(), strict=True):
        assert np.isfinite(new).all()
        # the softmax of a shifted row is the same, so the key's bias has no gradient
        assert (new != old).any() or weight.path.endswith("key/bias"), weight.path
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(ids, verbose=0), model.predict(ids, verbose=0), atol=1e-6
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    x, encoded = data(B, T, D), data(B, S, E, seed=1)
    full = made(DecoderBlock, x.shape, encoded.shape, norm="sandwich", qk_norm=True)
    half = DecoderBlock.from_config({**full.get_config(), "dtype": policy})
    half.build(x.shape, encoded.shape)
    half.set_weights(full.get_weights())
    masks = {"mask": np.array([[False] * T, [True] * T]), "encoded_mask": ENCODED_KEPT}
    got, want = half(x, encoded, **masks), full(x, encoded, **masks)
    assert keras.backend.standardize_dtype(got.dtype) == half.compute_dtype
    np.testing.assert_allclose(array(ops.cast(got, "float32")), array(want), atol=0.1)


def test_masks_that_keras_carries():
    x, encoded = data(B, T, D), data(B, S, E, seed=1)
    x[~KEPT], encoded[~ENCODED_KEPT] = 0, 0
    carried, carried_encoded = (keras.layers.Masking()(each) for each in (x, encoded))
    limit = {"attention_mask": ops.convert_to_tensor(np.tri(T, T, 1, dtype=bool))}
    encoder, decoder = made(EncoderBlock, x.shape), made(DecoderBlock, x.shape, encoded.shape)
    alone = made(DecoderBlock, x.shape, cross_attention=False)
    for options in ({}, limit):
        want = encoder(x, mask=KEPT, **options)
        pairs = [(encoder(carried, **options), want)]
        want = decoder(x, encoded, mask=KEPT, encoded_mask=ENCODED_KEPT, **options)
        pairs.append((decoder(carried, carried_encoded, **options), want))
        pairs.append((alone(carried, **options), alone(x, mask=KEPT, **options)))
        for got, want in pairs:
            np.testing.assert_allclose(array(got), array(want), atol=1e-6)
            np.testing.assert_array_equal(array(got._keras_mask), KEPT)


# Bad input


@pytest.mark.parametrize("cls", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"intermediate_dim": 0},
            "`intermediate_dim` must be positive. Received: intermediate_dim=0",
        ),
        ({"norm": "both"}, "norm: expected one of .* Received: norm='both'"),
        ({"norm_kind": "batch"}, "norm_kind: expected one of .* Received: norm_kind='batch'"),
        ({"activation": "rulu"}, "activation: expected one of .* Received: activation='rulu'"),
        ({"num_heads": 3}, "`num_heads` must divide the width .* num_heads=3, width=8"),
        ({"num_heads": 0}, "`num_heads` must divide the width .* num_heads=0, width=8"),
        (
            {"num_heads": 4, "num_key_value_heads": 3},
            "`num_key_value_heads` must divide .* num_heads=4, num_key_value_heads=3",
        ),
        ({"window": 0}, "`window` must be positive. Received: window=0"),
        ({"positions": AlibiBias(4)}, "num_heads=2, positions.num_heads=4"),
    ],
)
def test_bad_arguments_are_named(cls, options, message):
    shapes = [(B, T, D), (B, S, E)] if cls is DecoderBlock else [(B, T, D)]
    with pytest.raises(ValueError, match=message):
        cls(**{"num_heads": H, "intermediate_dim": F, **options}).build(*shapes)


def test_shapes_that_do_not_fit():
    x, encoded = data(B, T, D), data(B, S, E)
    with pytest.raises(
        ValueError, match=r"`attention_mask` must .* \(2, 4, 4\)\. Received: .*\(2, 2, 4, 4\)"
    ):
        EncoderBlock(H, F)(x, attention_mask=np.ones((B, H, T, T), bool))
    with pytest.raises(ValueError, match=r"`mask` must .* Received: mask.shape=\(2, 5\)"):
        DecoderBlock(H, F)(x, encoded, mask=ENCODED_KEPT)
    with pytest.raises(ValueError, match=r"`mask` must .* Received: mask.shape=\(2, 4\)"):
        DecoderBlock(H, F)(x, encoded, encoded_mask=KEPT)
    for block in (DecoderBlock(H, F), made(DecoderBlock, x.shape, encoded.shape)):
        with pytest.raises(ValueError, match="encoded: expected .* Received: encoded=None"):
            block(x)
