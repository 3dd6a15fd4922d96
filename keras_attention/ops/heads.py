"""Several heads at once (Vaswani et al. 2017, section 3.2.2), and heads that share keys and values.

Shapes: B batch, H heads of the query, G heads of the keys and values, T queries, S keys, D width
of a head. Heads stand before time, so that a cache of keys is read as it lies. Query head h looks
at key head `h // (H / G)` (grouped queries: Ainslie et al. 2023; G = 1, multi-query: Shazeer 2019);
the queries of a group stand one below the other in one product, and nothing is repeated.
"""

from typing import Any

from keras import ops

from keras_attention.ops.attention import Memory


def split_heads(x: Any, heads: int):
    """Cuts the width into heads.

    Args:
        x: (B, T, heads * D).
        heads: how many.

    Returns:
        (B, heads, T, D).

    Example:

    >>> import numpy as np
    >>> tuple(split_heads(np.ones((2, 3, 8)), heads=4).shape)
    (2, 4, 3, 2)
    """
    batch, length = ops.shape(x)[:2]
    x = ops.reshape(x, (batch, length, heads, x.shape[-1] // heads))
    return ops.transpose(x, (0, 2, 1, 3))


def merge_heads(x: Any):
    """Puts the heads side by side, `Concat(head_1, ..., head_h)`: (B, H, T, D) -> (B, T, H * D).

    Example:

    >>> import numpy as np
    >>> tuple(merge_heads(np.ones((2, 4, 3, 2))).shape)
    (2, 3, 8)
    """
    batch, heads, length, width = ops.shape(x)
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (batch, length, heads * width))


def scaled_dot(query: Any, keys: Any):
    """`q . k / sqrt(D)` in every head (Vaswani et al. 2017, equation 1).

    Args:
        query: (B, H, T, D).
        keys: (B, G, S, D), where G divides H.

    Returns:
        Energies (B, H, T, S).

    Example:

    >>> import numpy as np
    >>> tuple(scaled_dot(np.ones((2, 4, 3, 8)), np.ones((2, 2, 5, 8))).shape)
    (2, 4, 3, 5)
    """
    # The query is scaled, not the product: float16 overflows later.
    query = ops.multiply(query, query.shape[-1] ** -0.5)
    return _by_group(query, ops.transpose(keys, (0, 1, 3, 2)))


def context(weights: Any, values: Any):
    """The weighted sum of the values in every head.

    Args:
        weights: (B, H, T, S).
        values: (B, G, S, D), where G divides H.

    Returns:
        (B, H, T, D).

    Example:

    >>> import numpy as np
    >>> tuple(context(np.ones((2, 4, 3, 5)), np.ones((2, 2, 5, 8))).shape)
    (2, 4, 3, 8)
    """
    return _by_group(weights, values)


def extend(memory: Memory, new: Memory, slot: Any) -> Memory:
    """A memory with one item more: a key/value cache after one step.

    Args:
        memory: its keys and values (B, G, S, D) have a slot for each item that may come; its mask
            and positions are those after the step.
        new: the item, keys and values (B, G, 1, D).
        slot: int scalar, where it goes.

    Returns:
        The memory, with that slot written.

    Example:

    >>> from keras import ops
    >>> empty, one = ops.zeros((1, 1, 3, 1)), ops.ones((1, 1, 1, 1))
    >>> memory = extend(Memory(empty, empty), Memory(one, one), slot=1)
    >>> ops.convert_to_numpy(memory.keys).ravel().tolist()
    [0.0, 1.0, 0.0]
    """
    start = (0, 0, slot, 0)
    return memory._replace(
        values=ops.slice_update(memory.values, start, ops.cast(new.values, memory.values.dtype)),
        keys=ops.slice_update(memory.keys, start, ops.cast(new.keys, memory.keys.dtype)),
    )


def _by_group(x, y):
    """Matrix products of (B, H, T, M) and (B, G, M, N): (B, H, T, N)."""
    batch, heads, length, width = ops.shape(x)
    groups = y.shape[1]
    if groups == heads:
        return ops.matmul(x, y)
    x = ops.reshape(x, (batch, groups, heads // groups * length, width))  # (B, G, H / G * T, M)
    return ops.reshape(ops.matmul(x, y), (batch, heads, length, ops.shape(y)[-1]))
