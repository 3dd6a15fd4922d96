"""Transformer blocks against float64 NumPy written from the equations, and against PyTorch."""

import itertools

import keras
import numpy as np
import pytest
import torch
from keras import ops

from helpers import array, normal
from keras_attention.layers import (
    AlibiBias,
    DecoderBlock,
    EncoderBlock,
    RelativePositionBias,
    RotaryEmbedding,
    make_blocks,
)
from keras_attention.ops.heads import CacheStep, KVCache

B, T, S, D, E, F, H = 2, 4, 5, 8, 6, 12, 2
MASK = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], bool)
ENCODED_MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
ENCODINGS = {
    "none": lambda: None,
    "rotary": RotaryEmbedding,
    "relative": lambda: RelativePositionBias(H),
    "alibi": lambda: AlibiBias(H),
}
NORMS = ["pre", "post", "sandwich"]
every_norm = pytest.mark.parametrize("norm", NORMS)
every_kind = pytest.mark.parametrize("kind", ["layer", "rms"])


def built(cls, *shapes, **options):
    """Returns a built block with random weights of normal size."""
    block = cls(**{"num_heads": H, "intermediate_dim": F, **options})
    block.build(*shapes)
    rng = np.random.default_rng(1)
    block.set_weights([rng.normal(size=w.shape) * 0.5 for w in block.get_weights()])
    return block


def assert_all_close(outputs, expected, atol=1e-5):
    for a, b in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(array(a), array(b), rtol=1e-4, atol=atol)


class Equations:
    """Vaswani et al. 2017, figure 1, with the normalizations of later papers."""

    def __init__(self, block, norm, kind):
        self.norm, self.kind = norm, kind
        self.weights = {
            weight.path.removeprefix(f"{block.name}/"): array(weight).astype("float64")
            for weight in block.weights
        }

    def linear(self, name, x):
        return x @ self.weights[f"{name}/kernel"] + self.weights[f"{name}/bias"]

    def normalize(self, name, x):
        if self.kind == "rms":
            return (
                x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * self.weights[f"{name}/scale"]
            )
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
        return x * self.weights[f"{name}/gamma"] + self.weights[f"{name}/beta"]

    def residual(self, name, x, sublayer):
        name = f"{name}_residual"
        if self.norm == "post":
            return self.normalize(f"{name}/norm", x + sublayer(x))
        y = sublayer(self.normalize(f"{name}/norm", x))
        return x + (y if self.norm == "pre" else self.normalize(f"{name}/second_norm", y))

    def attention(self, name, q, k, v, mask):
        q, k, v = (np.moveaxis(x.reshape(*x.shape[:2], H, -1), 1, 2) for x in (q, k, v))
        exponentials = np.exp(q @ np.moveaxis(k, 2, 3) / np.sqrt(D // H)) * mask[:, None]
        self.attention_weights = exponentials / exponentials.sum(-1, keepdims=True)
        heads = np.moveaxis(self.attention_weights @ v, 1, 2)
        return self.linear(f"{name}/output", heads.reshape(*heads.shape[:2], -1))

    def self_attention(self, mask):
        name = "self_attention"
        return lambda x: self.attention(
            name, *np.split(self.linear(f"{name}/query_key_value", x), 3, axis=-1), mask
        )

    def cross_attention(self, encoded, mask):
        name = "cross_attention"
        keys, values = (self.linear(f"{name}/{part}", encoded) for part in ("key", "value"))
        return lambda x: self.attention(
            name, self.linear(f"{name}/query", x), keys, values, mask[:, None]
        )

    def feed_forward(self, x):
        return self.linear(
            "feed_forward/outer", np.maximum(self.linear("feed_forward/inner", x), 0)
        )


@every_norm
@every_kind
def test_encoder_block_follows_the_equations(norm, kind):
    x, attention_mask = normal(B, T, D), np.tri(T, T, 1, dtype=bool)
    block = built(EncoderBlock, x.shape, norm=norm, norm_kind=kind)
    masks = {"mask": MASK, "attention_mask": attention_mask}
    outputs = block(x, **masks, return_attention_scores=True)
    paper = Equations(block, norm, kind)
    mask = MASK[:, None] & attention_mask
    expected = paper.residual("self_attention", x.astype("float64"), paper.self_attention(mask))
    expected = paper.residual("feed_forward", expected, paper.feed_forward)
    assert_all_close(outputs, (expected, paper.attention_weights))
    np.testing.assert_array_equal(array(block(x, **masks)), array(outputs[0]))


@every_norm
@every_kind
@pytest.mark.parametrize("cross", [True, False])
def test_decoder_block_follows_the_equations(norm, kind, cross):
    inputs = [normal(B, T, D)] + [normal(B, S, E, seed=1)] * cross
    shapes = [array.shape for array in inputs]
    block = built(DecoderBlock, *shapes, norm=norm, norm_kind=kind, cross_attention=cross)
    masks = {"mask": MASK, **({"encoded_mask": ENCODED_MASK} if cross else {})}
    outputs = block(*inputs, **masks, return_attention_scores=True)
    paper = Equations(block, norm, kind)
    x, mask = inputs[0].astype("float64"), MASK[:, None] & np.tri(T, dtype=bool)
    expected = paper.residual("self_attention", x, paper.self_attention(mask))
    if cross:
        attend = paper.cross_attention(inputs[1], ENCODED_MASK)
        expected = paper.residual("cross_attention", expected, attend)
    weights = paper.attention_weights
    expected = paper.residual("feed_forward", expected, paper.feed_forward)
    assert_all_close(outputs, (expected, weights))


# PyTorch


def fill_from_torch(block, torch_layer, residuals):
    """Copies weights; PyTorch's kernels are (out, in), its norms are norm1, norm2, ..."""
    state = {name: value.numpy() for name, value in torch_layer.state_dict().items()}
    pairs = {"feed_forward/inner": "linear1", "feed_forward/outer": "linear2"}
    pairs["self_attention/output"] = "self_attn.out_proj"
    pairs["cross_attention/output"] = "multihead_attn.out_proj"
    pairs |= {f"{name}_residual/norm": f"norm{i + 1}" for i, name in enumerate(residuals)}
    arrays = {}
    for ours, theirs in pairs.items():
        if f"{theirs}.weight" in state:
            kernel, bias = state[f"{theirs}.weight"], state[f"{theirs}.bias"]
            arrays |= {f"{ours}/kernel": kernel.T, f"{ours}/bias": bias}
            arrays |= {f"{ours}/gamma": kernel, f"{ours}/beta": bias}
    arrays["self_attention/query_key_value/kernel"] = state["self_attn.in_proj_weight"].T
    arrays["self_attention/query_key_value/bias"] = state["self_attn.in_proj_bias"]
    if "multihead_attn.in_proj_weight" in state:
        kernels = np.split(state["multihead_attn.in_proj_weight"], 3)
        biases = np.split(state["multihead_attn.in_proj_bias"], 3)
        for part, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True):
            arrays[f"cross_attention/{part}/kernel"] = kernel.T
            arrays[f"cross_attention/{part}/bias"] = bias
    for weight in block.weights:
        weight.assign(arrays[weight.path.removeprefix(f"{block.name}/")])


def torch_layer(cls, norm, activation):
    torch.manual_seed(0)
    layer = cls(D, H, F, 0.0, activation, norm_first=norm == "pre", batch_first=True)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.normal_(std=0.5)
    return layer  # in training mode without dropout: the fast path treats masks differently


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_block_equals_pytorch(norm, activation):
    theirs = torch_layer(torch.nn.TransformerEncoderLayer, norm, activation)
    block = EncoderBlock(H, F, norm=norm, activation=activation)
    x = normal(B, T, D)
    block.build(x.shape)
    fill_from_torch(block, theirs, ["self_attention", "feed_forward"])
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x), src_key_padding_mask=torch.from_numpy(~MASK)).numpy()
    assert_all_close([block(x, mask=MASK)], [expected])


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_decoder_block_equals_pytorch(norm, activation):
    theirs = torch_layer(torch.nn.TransformerDecoderLayer, norm, activation)
    block = DecoderBlock(H, F, norm=norm, activation=activation)
    x, encoded = normal(B, T, D), normal(B, S, D, seed=1)
    block.build(x.shape, encoded.shape)
    fill_from_torch(block, theirs, ["self_attention", "cross_attention", "feed_forward"])
    with torch.no_grad():
        expected = theirs(
            torch.from_numpy(x),
            torch.from_numpy(encoded),
            tgt_mask=torch.from_numpy(~np.tri(T, dtype=bool)),
            tgt_key_padding_mask=torch.from_numpy(~MASK),
            memory_key_padding_mask=torch.from_numpy(~ENCODED_MASK),
        ).numpy()
    assert_all_close([block(x, encoded, mask=MASK, encoded_mask=ENCODED_MASK)], [expected])


# Stepping


def combinations():
    """Every combination; shared encodings alternate over the other options in the quick tests."""
    for i, norm in enumerate(NORMS):
        for j, encoding in enumerate(ENCODINGS):
            for cross, shared in itertools.product((True, False), repeat=2):
                is_quick = shared == ((i + j + cross) % 2 == 0)
                marks = () if is_quick else pytest.mark.slow
                yield pytest.param(norm, encoding, cross, shared, marks=marks)


@pytest.mark.parametrize("norm, encoding, cross, shared", list(combinations()))
def test_steps_of_beams_equal_the_full_pass(norm, encoding, cross, shared):
    """Two beams with different tokens, with grouped queries and a window."""
    beams, batch = 2, 3
    x, encoded = normal(batch * beams, T, D), [normal(batch, S, E, seed=1)] * cross
    shapes = [array.shape for array in (x, *encoded)]
    encoding = ENCODINGS[encoding]()
    options = {"num_key_value_heads": 1, "window": 3, "norm": norm, "cross_attention": cross}
    bias = encoding if shared else None
    if shared and encoding is not None:
        encoding.build(())
    block = built(DecoderBlock, *shapes, positions=None if shared else encoding, **options)
    tiled = [np.repeat(array, beams, axis=0) for array in encoded]
    expected, expected_weights = map(
        array, block(x, *tiled, position_bias=bias, return_attention_scores=True)
    )

    memory = block.memory(*encoded or [None])
    cache = block.self_attention.init_cache(batch, beams, T)
    slots = np.arange(T)[None]
    for t in range(T):
        output, weights, cache = block.step(
            ops.convert_to_tensor(np.reshape(x[:, t], (batch, beams, D))), memory, cache,
            CacheStep(t, np.array([[t]], "int32"), slots, (slots <= t)[None]),
            position_bias=bias, return_weights=True,
        )  # fmt: skip
        assert_all_close([ops.reshape(output, (-1, D))], [expected[:, t]])
        weights = np.moveaxis(array(weights), 2, 1)  # (batch, beams, H, S or T)
        weights = weights.reshape(batch * beams, H, -1)
        np.testing.assert_allclose(weights, expected_weights[:, :, t], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cross", [True, False])
def test_full_pass_returns_the_cache_of_the_steps(cross):
    x, encoded = normal(B, T, D), [normal(B, S, E, seed=1)] * cross
    shapes = [array.shape for array in (x, *encoded)]
    block = built(DecoderBlock, *shapes, positions=RotaryEmbedding(), cross_attention=cross)
    memory = block.memory(*encoded or [None])
    causal = np.tri(T, dtype=bool)[None]
    expected, _, _ = block.full_pass(x, memory, mask=causal)
    _, weights, cache = block.full_pass(x[:, : T - 1], memory, mask=causal[:, : T - 1, : T - 1])
    assert weights is None
    padding = ((0, 0), (0, 0), (0, 1), (0, 0))
    cache = KVCache(*(ops.expand_dims(ops.pad(array, padding), 1) for array in cache))
    output, weights, _ = block.step(
        x[:, T - 1 :], memory, cache,
        CacheStep(T - 1, np.array([[T - 1]], "int32"), np.arange(T)[None]),
    )  # fmt: skip
    assert weights is None
    assert_all_close([output], [expected[:, T - 1 :]])


def test_window_applies_to_self_attention_only():
    """Cross-attention attends to all positions of a longer source."""
    x, encoded = normal(B, T, D), normal(B, S, E, seed=1)
    block = built(DecoderBlock, x.shape, encoded.shape, window=1)
    y, weights = block(x, encoded, return_attention_scores=True)
    assert block.self_attention.window == 1 and block.cross_attention.window is None
    assert array(weights).shape == (B, H, T, S) and (array(weights) > 0).all()
    changed = np.array(x)
    changed[:, :-1] += 1  # with a window of 1, a position attends only to itself
    np.testing.assert_allclose(array(block(changed, encoded))[:, -1], array(y)[:, -1], atol=1e-6)


# make_blocks


@pytest.mark.parametrize("cls", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize(
    "num_layers, rates", [(1, [0.0]), (2, [0.0, 0.3]), (4, [0, 0.1, 0.2, 0.3])]
)
def test_stochastic_depth_increases_linearly(cls, num_layers, rates):
    """Huang et al. 2016, equation 4, from 0 in the first block."""
    blocks = make_blocks(
        cls,
        num_layers,
        num_heads=H,
        intermediate_dim=F,
        stochastic_depth=0.3,
        dtype="mixed_float16",
    )
    residuals = ["self_attention_residual", "feed_forward_residual"]
    for name in residuals + ["cross_attention_residual"] * (cls is DecoderBlock):
        layers = [getattr(block, name).stochastic_depth for block in blocks]
        np.testing.assert_allclose([layer.rate for layer in layers], rates)
    assert [block.name for block in blocks] == [f"block_{i}" for i in range(num_layers)]
    assert {block.compute_dtype for block in blocks} == {"float16"}


def test_make_blocks_needs_a_positive_number_of_layers():
    with pytest.raises(ValueError, match="`num_layers` must be positive. Received: num_layers=0"):
        make_blocks(EncoderBlock, 0, num_heads=H, intermediate_dim=F)


# Keras layer requirements

ALL_OPTIONS = {
    "dropout": 0.1, "attention_dropout": 0.2, "intermediate_dropout": 0.3, "norm": "sandwich",
    "norm_kind": "rms", "activation": "swiglu", "num_key_value_heads": 1, "use_bias": False,
    "qk_norm": True, "soft_cap": 5.0, "window": 3, "stochastic_depth": 0.4,
}  # fmt: skip


@pytest.mark.parametrize("cls", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_config_restores_the_block(cls, encoding):
    shapes = [(B, T, D), (B, S, E)] if cls is DecoderBlock else [(B, T, D)]
    block = built(cls, *shapes, positions=ENCODINGS[encoding](), **ALL_OPTIONS)
    assert ALL_OPTIONS.items() <= block.get_config().items()
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(block))
    assert restored.get_config() == block.get_config()
    restored.set_weights(block.get_weights())
    inputs = [normal(*shape) for shape in shapes]
    np.testing.assert_array_equal(array(restored(*inputs)), array(block(*inputs)))


@pytest.mark.usefixtures("eager")
def test_blocks_train_with_an_empty_source_and_are_saved(tmp_path):
    source, target = (keras.Input((None,), dtype="int32", name=n) for n in ("source", "target"))
    embed = keras.layers.Embedding(9, D, mask_zero=True)
    encoded, self_weights = EncoderBlock(H, F, **{**ALL_OPTIONS, "stochastic_depth": 0.1})(
        embed(source), return_attention_scores=True
    )
    x, weights = DecoderBlock(H, F, positions=RelativePositionBias(H), stochastic_depth=0.1)(
        embed(target), encoded, return_attention_scores=True
    )
    assert self_weights.shape == (None, H, None, None) and weights.shape == (None, H, None, None)
    assert x.shape == (None, None, D)
    model = keras.Model([source, target], keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.Adam(0.01), "mse")  # updates weights however small the gradient
    ids = [np.array([[0] * S, [3, 4, 5, 0, 0]]), np.array([[1, 4, 5, 6], [1, 3, 0, 0]])]
    before = model.get_weights()
    history = model.fit(ids, np.ones((B, T, 1)), epochs=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for weight, old, new in zip(model.weights, before, model.get_weights(), strict=True):
        assert np.isfinite(new).all()
        # the softmax is invariant to a shift of the scores, so the key's bias has no gradient
        assert (new != old).any() or weight.path.endswith("key/bias"), weight.path
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(ids, verbose=0), model.predict(ids, verbose=0), atol=1e-6
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    x, encoded = normal(B, T, D), normal(B, S, E, seed=1)
    full = built(DecoderBlock, x.shape, encoded.shape, norm="sandwich", qk_norm=True)
    half = DecoderBlock.from_config({**full.get_config(), "dtype": policy})
    half.build(x.shape, encoded.shape)
    half.set_weights(full.get_weights())
    masks = {"mask": np.array([[False] * T, [True] * T]), "encoded_mask": ENCODED_MASK}
    output, expected = half(x, encoded, **masks), full(x, encoded, **masks)
    assert keras.backend.standardize_dtype(output.dtype) == half.compute_dtype
    np.testing.assert_allclose(array(ops.cast(output, "float32")), array(expected), atol=0.1)


def test_keras_masks_are_used_and_propagated():
    x, encoded = normal(B, T, D), normal(B, S, E, seed=1)
    x[~MASK], encoded[~ENCODED_MASK] = 0, 0
    masked, masked_encoded = (keras.layers.Masking()(array) for array in (x, encoded))
    attention_mask = {"attention_mask": ops.convert_to_tensor(np.tri(T, T, 1, dtype=bool))}
    encoder, decoder = built(EncoderBlock, x.shape), built(DecoderBlock, x.shape, encoded.shape)
    causal = built(DecoderBlock, x.shape, cross_attention=False)
    for options in ({}, attention_mask):
        expected = encoder(x, mask=MASK, **options)
        pairs = [(encoder(masked, **options), expected)]
        expected = decoder(x, encoded, mask=MASK, encoded_mask=ENCODED_MASK, **options)
        pairs.append((decoder(masked, masked_encoded, **options), expected))
        pairs.append((causal(masked, **options), causal(x, mask=MASK, **options)))
        for output, expected in pairs:
            np.testing.assert_allclose(array(output), array(expected), atol=1e-6)
            np.testing.assert_array_equal(array(output._keras_mask), MASK)


# Invalid input


@pytest.mark.parametrize("cls", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"intermediate_dim": 0},
            "`intermediate_dim` must be positive. Received: intermediate_dim=0",
        ),
        ({"norm": "both"}, "`norm` must be one of .* Received: norm='both'"),
        ({"norm_kind": "batch"}, "`norm_kind` must be one of .* Received: norm_kind='batch'"),
        ({"activation": "rulu"}, "`activation` must be one of .* Received: activation='rulu'"),
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
def test_invalid_arguments_raise(cls, options, message):
    shapes = [(B, T, D), (B, S, E)] if cls is DecoderBlock else [(B, T, D)]
    with pytest.raises(ValueError, match=message):
        cls(**{"num_heads": H, "intermediate_dim": F, **options}).build(*shapes)


def test_shapes_that_do_not_match_raise():
    x, encoded = normal(B, T, D), normal(B, S, E)
    with pytest.raises(
        ValueError, match=r"`attention_mask` must .* \(2, 4, 4\)\. Received: .*\(2, 2, 4, 4\)"
    ):
        EncoderBlock(H, F)(x, attention_mask=np.ones((B, H, T, T), bool))
    with pytest.raises(ValueError, match=r"`mask` must .* Received: mask.shape=\(2, 5\)"):
        DecoderBlock(H, F)(x, encoded, mask=ENCODED_MASK)
    with pytest.raises(ValueError, match=r"`mask` must .* Received: mask.shape=\(2, 4\)"):
        DecoderBlock(H, F)(x, encoded, encoded_mask=MASK)
    for block in (DecoderBlock(H, F), built(DecoderBlock, x.shape, encoded.shape)):
        with pytest.raises(ValueError, match="`encoded` is required .* Received: encoded=None"):
            block(x)
