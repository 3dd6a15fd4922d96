"""What can attend to what: each check raises ValueError and says what it received."""

from typing import Any


def check_positive(name: str, value: float) -> None:
    """A size that must be above 0."""
    if not value > 0:
        raise ValueError(f"`{name}` must be positive. Received: {name}={value}")


def check_built(layer: Any) -> None:
    """Methods beside the call need the weights that `build` makes."""
    if not layer.built:
        raise ValueError(
            "The layer has no weights yet: call it, or `layer.build(query_shape, value_shape)`. "
            f"Received: {layer.name}, not built"
        )


def check_width(query_shape: tuple, key_shape: tuple) -> None:
    """Scores that compare query and key feature by feature need one width."""
    if query_shape[-1] != key_shape[-1]:
        raise ValueError(
            "This score needs query and keys of one width; additive, general and concat scores "
            f"take others. Received: query_shape={query_shape}, key_shape={key_shape}"
        )


def check_heads(num_heads: int, num_key_value_heads: int) -> None:
    """Heads of keys and values must divide the query's."""
    if num_heads % num_key_value_heads:
        raise ValueError(
            "`num_key_value_heads` must divide `num_heads`. Received: "
            f"num_heads={num_heads}, num_key_value_heads={num_key_value_heads}"
        )


def check_positions(num_heads: int, positions: Any) -> None:
    """A scheme with a bias for each head is made for that many."""
    heads = getattr(positions, "num_heads", num_heads)
    if heads != num_heads:
        raise ValueError(
            "`positions` must be for the heads of the query. Received: "
            f"num_heads={num_heads}, positions for {heads} heads"
        )


def check_window(window: int | None, queries: int | None, keys: int | None) -> None:
    """A window is of distances, which two sequences have not between them."""
    if window is not None and None not in (queries, keys) and queries != keys:
        raise ValueError(
            "`window` needs queries and keys of one sequence, so that distances mean something. "
            f"Received: window={window}, {queries} queries, {keys} keys"
        )


def check_divides(num_heads: int, width: int) -> None:
    """The heads of a block must share its width evenly."""
    if num_heads < 1 or width % num_heads:
        raise ValueError(
            "`num_heads` must divide the width of the input. Received: "
            f"num_heads={num_heads}, width {width}"
        )


def check_values(values: Any, keys: Any, mask: Any, mask_name: str = "mask") -> None:
    """Values (B, S, D), keys (B, S, K) or None, mask (B, S) or None."""
    _check("value", values, (None, None, None), "(batch, length, width)")
    batch_and_length = tuple(values.shape[:2])
    if keys is not None:
        _check("key", keys, (*batch_and_length, None), "with the batch and length of the value,")
    if mask is not None:
        _check(mask_name, mask, batch_and_length, "with the batch and length of the value,")


def check_query(query: Any, values: Any, mask: Any, mask_name: str = "mask") -> None:
    """Query (B, T, Q) for values (B, S, D), mask (B, T, S), or of ones that broadcast, or None."""
    _check("query", query, (values.shape[0], None, None), "(batch of the value, queries, width):")
    if mask is not None:
        shape = (query.shape[0], query.shape[1], values.shape[1])
        if len(mask.shape) == 2:
            shape = shape[1:]
        _check(mask_name, mask, shape, "with the batch, queries and length,", broadcast=True)


def check_mask(mask: Any, shape: tuple) -> None:
    """A mask (batch, queries, keys), or of ones that broadcast, or None."""
    if mask is not None:
        _check("mask", mask, shape, "(batch, queries, keys):", broadcast=True)


def check_call(
    query: Any,
    value: Any,
    key: Any,
    query_mask: Any,
    value_mask: Any,
    key_mask: Any,
    attention_mask: Any,
) -> None:
    """The arguments of a layer's call."""
    check_values(value, key, value_mask, "value_mask")
    check_values(value, key, key_mask, "key_mask")
    check_query(query, value, attention_mask, "attention_mask")
    if query_mask is not None:
        _check(
            "query_mask", query_mask, tuple(query.shape[:2]), "with the query's batch and length,"
        )


def _check(name, x, shape, meaning, broadcast=False):
    """`x` has the known sizes of `shape` (`None` is unknown, 1 passes where it may broadcast)."""
    received = tuple(x.shape)
    fits = len(received) == len(shape) and all(
        size is None or want is None or size == want or (broadcast and size == 1)
        for size, want in zip(received, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"`{name}` must be {meaning} {shape}. Received: {name}.shape={received}")
