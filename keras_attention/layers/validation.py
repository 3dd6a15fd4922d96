"""Argument checks of the layers; each raises a `ValueError` in Keras's wording."""

from typing import Any

from keras_attention.types import Mask, Tensor


def check_built(layer: Any) -> None:
    """Raises a `ValueError` unless the layer is built."""
    if not layer.built:
        raise ValueError(
            "The layer must be built: call it, or `layer.build(query_shape, value_shape)`. "
            f"Received: {layer.name}, which is not built"
        )


def check_same_width(query_shape: tuple, key_shape: tuple) -> None:
    """Raises a `ValueError` unless query and keys have the same width."""
    if query_shape[-1] != key_shape[-1]:
        raise ValueError(
            "Query and keys of this score must have the same width; the additive, general and "
            "concat scores take different widths. "
            f"Received: query_shape={query_shape}, key_shape={key_shape}"
        )


def check_heads(num_heads: int, num_key_value_heads: int) -> None:
    """Raises a `ValueError` unless the number of key/value heads divides that of the query."""
    if num_heads % num_key_value_heads:
        raise ValueError(
            "`num_key_value_heads` must divide `num_heads`. Received: "
            f"num_heads={num_heads}, num_key_value_heads={num_key_value_heads}"
        )


def check_positions(num_heads: int, positions: Any) -> None:
    """Raises a `ValueError` unless a position encoding with one bias per head has as many heads."""
    heads = getattr(positions, "num_heads", num_heads)
    if heads != num_heads:
        raise ValueError(
            "`positions` must have as many heads as the query. Received: "
            f"num_heads={num_heads}, positions.num_heads={heads}"
        )


def check_window(window: int | None, num_queries: int | None, num_keys: int | None) -> None:
    """Raises a `ValueError` if a window is used between two sequences."""
    if window is not None and None not in (num_queries, num_keys) and num_queries != num_keys:
        raise ValueError(
            "Windowed attention needs query and key from the same sequence. "
            f"Received: window={window}, {num_queries} queries, {num_keys} keys"
        )


def check_divides(num_heads: int, width: int) -> None:
    """Raises a `ValueError` unless the number of heads divides the width."""
    if num_heads < 1 or width % num_heads:
        raise ValueError(
            "`num_heads` must divide the width of the input. Received: "
            f"num_heads={num_heads}, width={width}"
        )


def check_values(values: Tensor, keys: Tensor | None, mask: Mask, mask_name: str = "mask") -> None:
    """Checks the shapes of values (B, S, D), keys (B, S, K) and mask (B, S); both may be `None`."""
    _check_shape("value", values, (None, None, None), "(batch, length, width)")
    batch_and_length = tuple(values.shape[:2])
    if keys is not None:
        _check_shape("key", keys, (*batch_and_length, None), "(batch, length, width)")
    if mask is not None:
        _check_shape(mask_name, mask, batch_and_length, "(batch, length)")


def check_images(shape: tuple) -> None:
    """Raises a `ValueError` unless images are channels-last and have three channels."""
    if len(shape) != 4 or shape[-1] != 3:
        raise ValueError(
            "`images` must have shape (batch, height, width, 3), with channels last whatever "
            f"`keras.config.image_data_format()` is. Received: images.shape={tuple(shape)}"
        )


def check_query(query: Tensor, values: Tensor, mask: Mask, mask_name: str = "mask") -> None:
    """Checks the shapes of a query (B, T, Q) and a mask that broadcasts to (B, T, S), or `None`."""
    _check_shape("query", query, (values.shape[0], None, None), "(batch, queries, width)")
    if mask is not None:
        shape: tuple = (query.shape[0], query.shape[1], values.shape[1])
        axes = "(batch, queries, keys)"
        if len(mask.shape) == 2:
            shape, axes = shape[1:], "(queries, keys)"
        _check_shape(mask_name, mask, shape, axes, broadcast=True)


def check_mask(mask: Mask, shape: tuple) -> None:
    """Checks that a mask broadcasts to (batch, queries, keys), or is `None`."""
    if mask is not None:
        _check_shape("mask", mask, shape, "(batch, queries, keys)", broadcast=True)


def check_call(
    query: Tensor,
    value: Tensor,
    key: Tensor | None,
    query_mask: Mask,
    value_mask: Mask,
    key_mask: Mask,
    attention_mask: Mask,
) -> None:
    """Checks the shapes of the call arguments of an attention layer."""
    check_values(value, key, value_mask, "value_mask")
    check_values(value, key, key_mask, "key_mask")
    check_query(query, value, attention_mask, "attention_mask")
    if query_mask is not None:
        _check_shape("query_mask", query_mask, tuple(query.shape[:2]), "(batch, queries)")


def _check_shape(name, x, shape, axes, broadcast=False):
    """Raises a `ValueError` unless the known sizes match; `None` is any size.

    With `broadcast`, an axis of length 1 matches any size.
    """
    received = tuple(x.shape)
    matches = len(received) == len(shape) and all(
        size is None or expected is None or size == expected or (broadcast and size == 1)
        for size, expected in zip(received, shape, strict=True)
    )
    if not matches:
        raise ValueError(
            f"`{name}` must have shape {axes} = {shape}. Received: {name}.shape={received}"
        )
