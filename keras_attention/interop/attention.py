"""Loading the weights of Keras's and PyTorch's multi-head attention."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_attention.layers.build import build_if_needed
from keras_attention.layers.multi_head import MultiHeadAttention
from keras_attention.layers.self_attention import MultiHeadSelfAttention

PARTS = ("query", "key", "value", "output")
# Weight names of `torch.nn.MultiheadAttention`: one kernel for all three, or one for each.
TORCH_NAMES = {
    "in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight",
    "out_proj.weight", "out_proj.bias",
}  # fmt: skip

SOURCES = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
# Options of `SOURCES` that the layer has too, that the shapes of the weights show, or that do not
# change the outputs. Any other option, also one of a later Keras, must have its default.
REPRESENTED_OPTIONS = {
    "num_heads", "key_dim", "value_dim", "output_shape", "use_bias", "dropout", "seed",
    "head_dim", "num_query_heads", "num_key_value_heads", "flash_attention",
    "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer",
    "activity_regularizer", "kernel_constraint", "bias_constraint", "args", "kwargs",
}  # fmt: skip
# Options that would change the outputs of the layer, and that no source represents.
LAYER_DEFAULTS = {"qk_norm": False, "soft_cap": None, "window": None, "positions": None}


def load_keras(layer: MultiHeadAttention, source: keras.layers.Layer) -> None:
    """Loads the weights of a Keras layer; the layer then gives the same outputs.

    Args:
        layer: a `MultiHeadAttention` or `MultiHeadSelfAttention` of the same sizes. It is built for
            the widths of the weights if it is not built yet.
        source: a built `keras.layers.MultiHeadAttention` or `GroupQueryAttention`.

    Raises:
        ValueError: If the source is not built, differs in heads or widths, or is a subclass; if it
            has options or weights that the layer does not represent, such as `sliding_window`, LoRA
            or quantized weights; or if the layer has options that the source does not have.

    Example:

    >>> import keras, numpy as np
    >>> x = np.ones((1, 3, 8), "float32")
    >>> source = keras.layers.MultiHeadAttention(num_heads=2, key_dim=4)
    >>> expected = source(x, x)
    >>> layer = MultiHeadAttention(num_heads=2, key_dim=4)
    >>> load_keras(layer, source)
    >>> bool(keras.ops.all(keras.ops.isclose(layer(x, x), expected, atol=1e-5)))
    True
    """
    if type(source) not in SOURCES:
        raise ValueError(
            f"`source` must be one of {[each.__name__ for each in SOURCES]}. "
            f"Received: source={source}"
        )
    _check_layer(layer)
    _check_options(source)
    if not source.weights:
        raise ValueError(
            "`source` must be a layer with weights; call it or build it first. "
            f"Received: {source.name}, which is not built"
        )
    arrays = {}
    for weight in source.weights:
        part, kind = weight.path.split("/")[-2:]
        if kind not in ("kernel", "bias") or not keras.backend.is_float_dtype(weight.dtype):
            raise ValueError(
                "`source` must have floating-point kernels and biases only; merge LoRA weights, "
                "and load before quantization. "
                f"Received: {part}/{kind} of dtype {weight.dtype}"
            )
        array = keras.ops.convert_to_numpy(keras.ops.cast(weight, "float32"))
        arrays[part.removeprefix("attention_"), kind] = array
    _check_names("source", {part for part, _ in arrays}, set(PARTS))
    num_key_value_heads = layer.num_key_value_heads
    shapes = {
        "query": (None, layer.num_heads, layer.key_dim),
        "key": (None, num_key_value_heads, layer.key_dim),
        "value": (None, num_key_value_heads, layer.value_dim),
        "output": (layer.num_heads, layer.value_dim, None),
    }
    weights = {}
    for part, shape in shapes.items():
        kernel, bias = arrays[part, "kernel"], arrays.get((part, "bias"))
        _check_shape(f"{part} kernel", kernel, shape)
        merged = (-1, kernel.shape[-1]) if part == "output" else (kernel.shape[0], -1)
        weights[part] = kernel.reshape(merged), None if bias is None else bias.reshape(-1)
    load_parts(layer, weights)


def load_torch(layer: MultiHeadAttention, state: Mapping[str, Any]) -> None:
    """Loads the weights of a `torch.nn.MultiheadAttention`; the layer then gives the same outputs.

    The weights do not contain the number of heads, so create the layer with that of the source.
    PyTorch is not required; the weights may come from a file.

    Args:
        layer: a `MultiHeadAttention` or `MultiHeadSelfAttention` with `key_dim` and `value_dim`
            equal to `embed_dim / num_heads`. It is built for the widths of the weights if it is
            not built yet.
        state: `state_dict()` of the source, or arrays of the same names.

    Raises:
        ValueError: If there are weights that the layer does not have, widths differ, or the layer
            has options that the source does not have.

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
    _check_layer(layer)
    _check_names("state", set(state), TORCH_NAMES)
    state = {name: np.asarray(array) for name, array in state.items()}
    if "in_proj_weight" in state:
        kernels = np.split(state["in_proj_weight"], 3)
    else:
        kernels = [state[f"{part}_proj_weight"] for part in "qkv"]
    biases: list = np.split(state["in_proj_bias"], 3) if "in_proj_bias" in state else [None] * 3
    kernels.append(state["out_proj.weight"])
    biases.append(state.get("out_proj.bias"))
    kernels = [kernel.T for kernel in kernels]  # PyTorch's kernels are (out, in)
    load_parts(layer, dict(zip(PARTS, zip(kernels, biases, strict=True), strict=True)))


def load_parts(layer: MultiHeadAttention, weights: dict[str, tuple]) -> None:
    """Assigns the weights of the four projections.

    Args:
        layer: a `MultiHeadAttention` or `MultiHeadSelfAttention`.
        weights: kernel (in, units) and bias (units,) or `None` of each of `PARTS`.

    Raises:
        ValueError: If a shape does not match, or `use_bias` differs. No weight is changed then.
    """
    widths = [weights[part][0].shape[0] for part in ("query", "value", "key")]
    fused = isinstance(layer, MultiHeadSelfAttention)
    if fused and len(set(widths)) > 1:
        raise ValueError(
            "`layer` must be a MultiHeadAttention if query, value and key differ in width. "
            f"Received: MultiHeadSelfAttention, widths {widths}"
        )
    shapes = [(None, None, width) for width in widths]
    build_if_needed(layer, *(shapes[:1] if fused else shapes))
    if fused:
        denses = {"query_key_value": layer.fused_dense, "output": layer.output_dense}
        pairs = zip(*(weights[part] for part in PARTS[:3]), strict=True)
        kernel, bias = (None if x[0] is None else np.concatenate(x, -1) for x in pairs)
        weights = {"query_key_value": (kernel, bias), "output": weights["output"]}
    else:
        denses = {part: getattr(layer, f"{part}_dense") for part in PARTS}
    for part, dense in denses.items():  # all are checked before the first is changed
        _check_dense(part, dense, *weights[part])
    for part, dense in denses.items():
        dense.set_weights([array for array in weights[part] if array is not None])


def _check_layer(layer):
    different = [name for name, value in LAYER_DEFAULTS.items() if getattr(layer, name) != value]
    if different:
        values = ", ".join(f"{name}={getattr(layer, name)!r}" for name in different)
        raise ValueError(
            f"`layer` must not have options that change the outputs. Received: {values}"
        )


def _check_options(source):
    """Raises a `ValueError` if an option has a value that is not represented."""
    config = source.get_config()
    for name, parameter in inspect.signature(type(source).__init__).parameters.items():
        if name in ("self", *REPRESENTED_OPTIONS):
            continue
        missing = getattr(source, name, getattr(source, f"_{name}", "not in its config"))
        value = config.get(name, missing)
        # Keras sets the axes when it is built; these are those of sequences
        is_default = name == "attention_axes" and value is not None and tuple(value) == (1,)
        if value != parameter.default and not is_default:
            raise ValueError(
                f"`source` must not have the option `{name}`, which the layer does not represent. "
                f"Received: {name}={value!r}"
            )


def _check_dense(part, dense, kernel, bias):
    if len(dense.weights) != (1 if dense.bias is None else 2):
        raise ValueError(
            "`layer` must have no LoRA or quantized weights; load before adding them. "
            f"Received: {[weight.path for weight in dense.weights]}"
        )
    if (bias is None) != (dense.bias is None):
        raise ValueError(
            f"`use_bias` of the layer must be {bias is not None}, as in the loaded weights. "
            f"Received: use_bias={bias is None}"
        )
    _check_shape(f"{part} kernel", kernel, tuple(dense.kernel.shape))


def _check_names(name, received, known):
    unknown = sorted(received - known)
    if unknown:
        raise ValueError(
            f"`{name}` must have only the weights of query, key, value and output. "
            f"Received also: {unknown}"
        )


def _check_shape(name, array, shape):
    """Raises a `ValueError` unless the shapes match; `None` is any size."""
    matches = len(array.shape) == len(shape) and all(
        expected in (None, size) for size, expected in zip(array.shape, shape, strict=True)
    )
    if not matches:
        raise ValueError(
            f"The loaded {name} must have the shape {shape} of the layer's. "
            f"Received: shape={array.shape}"
        )
