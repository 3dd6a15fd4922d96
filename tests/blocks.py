"""Shapes, random blocks, the paper's equations and PyTorch's weights for tests of blocks."""

import numpy as np
import pytest
import torch

from helpers import array
from keras_attention.layers import AlibiBias, RelativePositionBias, RotaryEmbedding

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
