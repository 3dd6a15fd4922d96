"""Multi-head attention of Keras and PyTorch: after loading, ours gives what theirs gives."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_attention.layers.build import build_if_needed
from keras_attention.layers.multi_head import MultiHeadAttention
from keras_attention.layers.self_attention import MultiHeadSelfAttention

PARTS = ("query", "key", "value", "output")
# What `torch.nn.MultiheadAttention` names: one kernel for all three, or one for each.
TORCH = {
    "in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight",
    "out_proj.weight", "out_proj.bias",
}  # fmt: skip


def load_keras(layer: MultiHeadAttention, theirs: keras.layers.Layer) -> None:
    """Loads the weights of a layer of Keras.

    Args:
        layer: a `MultiHeadAttention` or `MultiHeadSelfAttention` of the same sizes. It is built for
            the widths of the weights if it is not built yet.
        theirs: a built `keras.layers.MultiHeadAttention` or `GroupQueryAttention`.

    Raises:
        ValueError: If theirs is not built, has weights that ours has no place for, or heads or
            widths differ.

    Example:

    >>> import keras, numpy as np
    >>> x = np.ones((1, 3, 8), "float32")
    >>> theirs = keras.layers.MultiHeadAttention(num_heads=2, key_dim=4)
    >>> expected = theirs(x, x)
    >>> layer = MultiHeadAttention(num_heads=2, key_dim=4)
    >>> load_keras(layer, theirs)
    >>> bool(keras.ops.all(keras.ops.isclose(layer(x, x), expected, atol=1e-5)))
    True
    """
    if not theirs.weights:
        raise ValueError(
            "theirs: expected a layer with weights, call it or build it first. "
            f"Received: {theirs.name}, not built"
        )
    arrays = {}
    for weight in theirs.weights:
        part, kind = weight.path.split("/")[-2:]
        arrays[part.removeprefix("attention_"), kind] = keras.ops.convert_to_numpy(weight)
    _refuse_others("theirs", {part for part, _ in arrays}, set(PARTS))
    groups = layer.num_key_value_heads
    shapes = {
        "query": (None, layer.num_heads, layer.key_dim),
        "key": (None, groups, layer.key_dim),
        "value": (None, groups, layer.value_dim),
        "output": (layer.num_heads, layer.value_dim, None),
    }
    given = {}
    for part, shape in shapes.items():
        kernel, bias = arrays[part, "kernel"], arrays.get((part, "bias"))
        _check_shape(f"theirs, kernel of {part}", kernel, shape)
        wide = (-1, kernel.shape[-1]) if part == "output" else (kernel.shape[0], -1)
        given[part] = kernel.reshape(wide), None if bias is None else bias.reshape(-1)
    load_parts(layer, given)


def load_torch(layer: MultiHeadAttention, state: Mapping[str, Any]) -> None:
    """Loads the weights of a `torch.nn.MultiheadAttention`.

    They do not say how many heads they were trained with: make the layer with theirs. PyTorch is
    not needed, so that they may come from a file.

    Args:
        layer: a `MultiHeadAttention` or `MultiHeadSelfAttention` with `key_dim` and `value_dim`
            equal to `embed_dim / num_heads`. It is built for the widths of the weights if it is
            not built yet.
        state: its `state_dict()`, or arrays of the same names.

    Raises:
        ValueError: If there are weights that ours has no place for, or widths differ.

    Example:

    >>> import numpy as np
    >>> state = {
    ...     "in_proj_weight": np.ones((24, 8)), "in_proj_bias": np.zeros(24),
    ...     "out_proj.weight": np.ones((8, 8)), "out_proj.bias": np.zeros(8),
    ... }
    >>> layer = MultiHeadSelfAttention(num_heads=2, key_dim=4)
    >>> load_torch(layer, state)
    >>> float(layer(np.ones((1, 1, 8), "float32"))[0, 0, 0])
    64.0
    """
    _refuse_others("state", set(state), TORCH)
    state = {name: np.asarray(array) for name, array in state.items()}
    if "in_proj_weight" in state:
        kernels = np.split(state["in_proj_weight"], 3)
    else:
        kernels = [state[f"{part}_proj_weight"] for part in "qkv"]
    biases = np.split(state["in_proj_bias"], 3) if "in_proj_bias" in state else [None] * 3
    kernels.append(state["out_proj.weight"])
    biases.append(state.get("out_proj.bias"))
    kernels = [kernel.T for kernel in kernels]  # theirs are (out, in)
    load_parts(layer, dict(zip(PARTS, zip(kernels, biases, strict=True), strict=True)))


def load_parts(layer: MultiHeadAttention, given: dict[str, tuple]) -> None:
    """Assigns kernels (in, units) and biases (units,) or None, by the names of PARTS."""
    widths = [given[part][0].shape[0] for part in ("query", "value", "key")]
    fused = isinstance(layer, MultiHeadSelfAttention)
    if fused and len(set(widths)) > 1:
        raise ValueError(
            "layer: expected MultiHeadAttention, for a query, value and key of different widths. "
            f"Received: MultiHeadSelfAttention, widths {widths}"
        )
    shapes = [(None, None, width) for width in widths]
    build_if_needed(layer, *(shapes[:1] if fused else shapes))
    if fused:
        denses = {"query_key_value": layer.fused_dense, "output": layer.output_dense}
        together = zip(*(given[part] for part in PARTS[:3]), strict=True)
        kernel, bias = (None if x[0] is None else np.concatenate(x, -1) for x in together)
        given = {"query_key_value": (kernel, bias), "output": given["output"]}
    else:
        denses = {part: getattr(layer, f"{part}_dense") for part in PARTS}
    for part, dense in denses.items():  # all are checked before the first is changed
        _check_dense(part, dense, *given[part])
    for part, dense in denses.items():
        dense.set_weights([array for array in given[part] if array is not None])


def _check_dense(part, dense, kernel, bias):
    if (bias is None) != (dense.bias is None):
        raise ValueError(
            f"layer: expected use_bias={bias is not None}, as theirs has it. "
            f"Received: use_bias={bias is None}"
        )
    _check_shape(f"theirs, kernel of {part}", kernel, tuple(dense.kernel.shape))


def _refuse_others(name, received, known):
    others = sorted(received - known)
    if others:
        raise ValueError(
            f"{name}: expected the weights of query, key, value and output alone. "
            f"Received: {others}"
        )


def _check_shape(name, array, shape):
    """`None` is any size."""
    fits = len(array.shape) == len(shape) and all(
        want in (None, size) for size, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name}: expected the shape {shape} of ours. Received: shape {array.shape}"
        )
