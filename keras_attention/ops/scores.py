"""Every published score: how well a query and a key match, before the softmax.

Shapes: `query` (B, T, Q), `keys` (B, S, D), energies (B, T, S). Layers project the keys once and
call the same functions.
"""

from typing import Any

from keras import ops

from keras_attention.ops.linear import project


def content(query: Any, keys: Any, sharpness: Any = 1.0):
    """Content-based addressing: `beta * cos(q, k)` (Graves 2014, equations 5 and 6).

    A vector of zeros has cosine 0 with everything.

    Args:
        query: (B, T, D).
        keys: (B, S, D).
        sharpness: `beta`, a number or (B, T, 1): the larger, the narrower the focus.

    Returns:
        Energies (B, T, S).

    Raises:
        ValueError: If query and keys differ in width.

    Example:

    >>> from keras import ops
    >>> query, keys = ops.array([[[0.0, 2.0]]]), ops.array([[[0.0, 9.0], [1.0, 0.0]]])
    >>> ops.convert_to_numpy(content(query, keys, sharpness=3.0)).round(4).tolist()
    [[[3.0, 0.0]]]
    """
    cosine = dot(_unit_length(query), _unit_length(keys))
    return ops.multiply(cosine, ops.cast(sharpness, cosine.dtype))


def dot(query: Any, keys: Any):
    """`h_t . h_s` (Luong 2015, equation 8, "dot").

    Args:
        query: (B, T, D).
        keys: (B, S, D).

    Returns:
        Energies (B, T, S).

    Raises:
        ValueError: If query and keys differ in width.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(dot(ops.array([[[1.0, 2.0]]]), ops.array([[[3.0, 4.0]]]))).tolist()
    [[[11.0]]]
    """
    if query.shape[-1] != keys.shape[-1]:
        raise ValueError(
            "A dot product needs query and keys of one width. "
            f"Received: query.shape={tuple(query.shape)}, keys.shape={tuple(keys.shape)}"
        )
    return ops.matmul(query, ops.transpose(keys, (0, 2, 1)))


def scaled_dot(query: Any, keys: Any):
    """`q . k / sqrt(D)` (Vaswani et al. 2017, equation 1).

    Args:
        query: (B, T, D).
        keys: (B, S, D).

    Returns:
        Energies (B, T, S).

    Raises:
        ValueError: If query and keys differ in width.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(scaled_dot(ops.ones((1, 1, 4)), ops.ones((1, 1, 4)))).tolist()
    [[[2.0]]]
    """
    # The query is scaled, not the product: float16 overflows later.
    return dot(ops.multiply(query, query.shape[-1] ** -0.5), keys)


def general(query: Any, keys: Any, kernel: Any):
    """`h_t . W_a h_s` (Luong 2015, equation 8, "general").

    Args:
        query: (B, T, Q).
        keys: (B, S, D).
        kernel: `W_a` transposed, (D, Q), as a `Dense` layer over the keys has it.

    Returns:
        Energies (B, T, S).

    Example:

    >>> from keras import ops
    >>> query, keys, kernel = ops.ones((1, 1, 1)), ops.ones((1, 1, 2)), ops.array([[2.0], [3.0]])
    >>> ops.convert_to_numpy(general(query, keys, kernel)).tolist()
    [[[5.0]]]
    """
    return dot(query, project(keys, kernel))


def additive(query: Any, keys: Any, v: Any):
    """`v_a . tanh(W_a s_(i-1) + U_a h_j)` (Bahdanau 2015, appendix A.1.2).

    Args:
        query: `W_a s_(i-1)`, already projected, (B, T, U).
        keys: `U_a h_j`, already projected, (B, S, U).
        v: `v_a`, (U,).

    Returns:
        Energies (B, T, S).

    Raises:
        ValueError: If query and keys differ in width.

    Example:

    >>> from keras import ops
    >>> query, keys, v = ops.zeros((1, 1, 2)), ops.full((1, 1, 2), 20.0), ops.array([1.0, 2.0])
    >>> ops.convert_to_numpy(additive(query, keys, v)).round(4).tolist()
    [[[3.0]]]
    """
    if query.shape[-1] != keys.shape[-1]:
        raise ValueError(
            "The additive score needs query and keys projected to one width. "
            f"Received: query.shape={tuple(query.shape)}, keys.shape={tuple(keys.shape)}"
        )
    hidden = ops.tanh(ops.expand_dims(query, 2) + ops.expand_dims(keys, 1))  # (B, T, S, U)
    return ops.sum(hidden * v, axis=-1)


def concat(query: Any, keys: Any, kernel: Any, v: Any):
    """`v_a . tanh(W_a [h_t; h_s])` (Luong 2015, equation 8, "concat").

    `W_a [h_t; h_s]` is the sum of a part for each, so this is the additive score of the parts.

    Args:
        query: (B, T, Q).
        keys: (B, S, D).
        kernel: `W_a` transposed, (Q + D, U): the query's rows first.
        v: `v_a`, (U,).

    Returns:
        Energies (B, T, S).

    Example:

    >>> from keras import ops
    >>> query, keys, kernel = ops.ones((1, 1, 1)), ops.ones((1, 1, 2)), ops.full((3, 1), 9.0)
    >>> ops.convert_to_numpy(concat(query, keys, kernel, ops.ones(1))).round(4).tolist()
    [[[1.0]]]
    """
    of_query, expand_key_mask = kernel[: query.shape[-1]], kernel[query.shape[-1] :]
    return additive(project(query, of_query), project(keys, expand_key_mask), v)


def location(query: Any, kernel: Any):
    """`W_a h_t`: the query alone says where to look (Luong 2015, equation 8, "location").

    The paper gives the weights, `softmax(W_a h_t)`; these are the energies under that softmax, one
    for each of L positions. Short sources use the first ones.

    Args:
        query: (B, T, Q).
        kernel: `W_a` transposed, (Q, L).

    Returns:
        Energies (B, T, L).

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(location(ops.ones((1, 1, 1)), ops.array([[1.0, 2.0]]))).tolist()
    [[[1.0, 2.0]]]
    """
    return project(query, kernel)


def weight_normalized(v: Any, g: Any):
    """`g v / ||v||` (Salimans and Kingma 2016, equation 2), as Raffel 2017 uses it in the score.

    Args:
        v: (U,).
        g: The length of the result, a scalar.

    Returns:
        (U,).

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(weight_normalized(ops.array([3.0, 4.0]), 10.0)).round(4).tolist()
    [6.0, 8.0]
    """
    return g * v * ops.rsqrt(ops.sum(ops.square(v)))


def _unit_length(x):
    square = ops.sum(ops.square(ops.cast(x, "float32")), axis=-1, keepdims=True)
    return ops.cast(ops.cast(x, "float32") * ops.rsqrt(ops.maximum(square, 1e-12)), x.dtype)
