"""The published score functions: one function for each, called by the layers.

A score compares every query with every key, before mask and softmax. Layers project queries and
keys; the functions take the projected tensors:

| function | called by |
| --- | --- |
| `additive` | `BahdanauAttention`, `MonotonicAttention`, `Pooling` |
| `content` | `ContentAttention` |
| `dot` | `DotAttention`, `LuongAttention`, `SelfAttention2D`, `NonLocal2D` |
| `scaled_dot` | `DotAttention`, `MultiHeadAttention` |
| `general` | `LuongAttention`, `MonotonicAttention` |
| `concat` | `LuongAttention` |
| `location` | `LuongAttention` |
| `relu_concat` | `NonLocal2D` |

Shapes: B batch, T queries, S keys, D or U width; `query` (B, T, U), `keys` (B, S, U), scores
(B, T, S). `dot` and `scaled_dot` also take heads, (B, H, T, D) and (B, G, S, D).

Scores of float16 operands are float32, in which products beyond 65,504 stay finite; other scores
have the dtype of their operands.
"""

import keras
from keras import ops

from keras_attention.ops.dtypes import at_least_float32
from keras_attention.ops.linear import grouped_matmul
from keras_attention.types import Tensor


def additive(query: Tensor, keys: Tensor, v: Tensor) -> Tensor:
    """Computes the additive score, `v_a . tanh(W_a s_(i-1) + U_a h_j)`.

    Bahdanau et al. 2015, appendix A.1.2.

    Args:
        query: `W_a s_(i-1)`, (B, T, U).
        keys: `U_a h_j`, (B, S, U).
        v: `v_a`, (U,).

    Returns:
        Scores (B, T, S).

    Raises:
        ValueError: If query and keys differ in width.

    Example:

    >>> from keras import ops
    >>> query, keys, v = ops.zeros((1, 1, 2)), ops.full((1, 1, 2), 20.0), ops.array([1.0, 2.0])
    >>> ops.convert_to_numpy(additive(query, keys, v)).round(4).tolist()
    [[[3.0]]]
    """
    _check_width(query, keys)
    hidden = ops.tanh(ops.expand_dims(query, 2) + ops.expand_dims(keys, 1))  # (B, T, S, U)
    return ops.sum(_float16_to_float32(hidden * v), axis=-1)  # (B, T, S)


def content(query: Tensor, keys: Tensor, sharpness: Tensor = 1.0) -> Tensor:
    """Computes the content-based score, `beta * cos(q, k)`.

    Graves et al. 2014, equations 5 and 6. The cosine with a vector of zeros is 0.

    Args:
        query: (B, T, D).
        keys: (B, S, D).
        sharpness: `beta`, a number or (B, T, 1); larger values give a narrower focus.

    Returns:
        Scores (B, T, S).

    Raises:
        ValueError: If query and keys differ in width.

    Example:

    >>> from keras import ops
    >>> query, keys = ops.array([[[0.0, 2.0]]]), ops.array([[[0.0, 9.0], [1.0, 0.0]]])
    >>> ops.convert_to_numpy(content(query, keys, sharpness=3.0)).round(4).tolist()
    [[[3.0, 0.0]]]
    """
    cosine = dot(unit_vectors(query), unit_vectors(keys))
    return ops.multiply(cosine, ops.cast(sharpness, cosine.dtype))


def dot(query: Tensor, keys: Tensor) -> Tensor:
    """Computes the dot product, `h_t . h_s` (Luong et al. 2015, equation 8, "dot").

    Args:
        query: (B, T, D) or (B, H, T, D).
        keys: (B, S, D) or (B, G, S, D), where G divides H; head h of the query is compared with
            head `h // (H / G)` of the keys.

    Returns:
        Scores (B, T, S) or (B, H, T, S).

    Raises:
        ValueError: If query and keys differ in width.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(dot(ops.array([[[1.0, 2.0]]]), ops.array([[[3.0, 4.0]]]))).tolist()
    [[[11.0]]]
    """
    _check_width(query, keys)
    query, keys = _float16_to_float32(query), _float16_to_float32(keys)
    rank = len(keys.shape)
    return grouped_matmul(query, ops.transpose(keys, (*range(rank - 2), rank - 1, rank - 2)))


def scaled_dot(query: Tensor, keys: Tensor) -> Tensor:
    """Computes the scaled dot product, `q . k / sqrt(D)` (Vaswani et al. 2017, equation 1).

    Args:
        query: (B, T, D) or (B, H, T, D).
        keys: (B, S, D) or (B, G, S, D), as `dot` takes them.

    Returns:
        Scores (B, T, S) or (B, H, T, S).

    Raises:
        ValueError: If query and keys differ in width.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(scaled_dot(ops.ones((1, 1, 4)), ops.ones((1, 1, 4)))).tolist()
    [[[2.0]]]
    """
    return dot(ops.multiply(query, query.shape[-1] ** -0.5), keys)


def general(query: Tensor, keys: Tensor) -> Tensor:
    """Computes the general score, `h_t . W_a h_s` (Luong et al. 2015, equation 8, "general").

    Args:
        query: `h_t`, (B, T, Q).
        keys: `W_a h_s`, (B, S, Q).

    Returns:
        Scores (B, T, S).

    Raises:
        ValueError: If query and keys differ in width.

    Example:

    >>> from keras import ops
    >>> from keras_attention.ops.linear import project
    >>> h_t, h_s, w_a = ops.ones((1, 1, 1)), ops.ones((1, 1, 2)), ops.array([[2.0], [3.0]])
    >>> ops.convert_to_numpy(general(h_t, project(h_s, w_a))).tolist()
    [[[5.0]]]
    """
    return dot(query, keys)


def concat(query: Tensor, keys: Tensor, v: Tensor) -> Tensor:
    """Computes the concat score, `v_a . tanh(W_a [h_t; h_s])`.

    Luong et al. 2015, equation 8, "concat". `W_a [h_t; h_s]` is the sum of two projections, one of
    the query and one of the key, so this is the additive score of the two.

    Args:
        query: `h_t` times the first columns of `W_a`, (B, T, U).
        keys: `h_s` times the remaining columns of `W_a`, (B, S, U).
        v: `v_a`, (U,).

    Returns:
        Scores (B, T, S).

    Raises:
        ValueError: If query and keys differ in width.

    Example:

    >>> from keras import ops
    >>> query, keys = ops.full((1, 1, 1), 9.0), ops.full((1, 1, 1), 18.0)
    >>> ops.convert_to_numpy(concat(query, keys, ops.ones(1))).round(4).tolist()
    [[[1.0]]]
    """
    return additive(query, keys, v)


def location(query: Tensor, key_positions: Tensor) -> Tensor:
    """Computes the location-based score, `W_a h_t`, which does not depend on the keys.

    Luong et al. 2015, equation 8, "location": `a_t = softmax(W_a h_t)`, one score for each of L
    positions. A key has the score of its position; at position L and beyond the score is 0, and
    the caller masks it.

    Args:
        query: `W_a h_t`, (B, T, L).
        key_positions: int (B, 1, S) or (1, 1, S), positions of the keys.

    Returns:
        Scores (B, T, S).

    Example:

    >>> from keras import ops
    >>> query, key_positions = ops.array([[[5.0, 7.0]]]), ops.array([[[1, 0, 2]]])
    >>> ops.convert_to_numpy(location(query, key_positions)).tolist()
    [[[7.0, 5.0, 0.0]]]
    """
    positions = ops.reshape(ops.arange(query.shape[-1], dtype="int32"), (1, -1, 1))
    one_hot = ops.equal(positions, key_positions)  # (B or 1, L, S)
    return ops.matmul(query, ops.cast(one_hot, query.dtype))  # (B, T, S)


def relu_concat(query: Tensor, keys: Tensor) -> Tensor:
    """Computes the concatenation form of a non-local block, `relu(w_f . [theta(x_i), phi(x_j)])`.

    Wang et al. 2018, equation 5. `w_f . [theta, phi]` is the sum of two products, one of each.

    Args:
        query: `theta(x_i)` times the first half of `w_f`, (B, T, 1).
        keys: `phi(x_j)` times the second half of `w_f`, (B, S, 1).

    Returns:
        Scores (B, T, S).

    Example:

    >>> from keras import ops
    >>> query, keys = ops.array([[[1.0]]]), ops.array([[[2.0], [-3.0]]])
    >>> ops.convert_to_numpy(relu_concat(query, keys)).tolist()
    [[[3.0, 0.0]]]
    """
    return ops.relu(query + ops.transpose(keys, (0, 2, 1)))


def weight_normalized(v: Tensor, g: Tensor) -> Tensor:
    """Returns `g v / ||v||` (Salimans and Kingma 2016, equation 2), used in place of `v_a`.

    Raffel et al. 2017, section 2.4.

    Args:
        v: (U,).
        g: scalar, the norm of the result.

    Returns:
        (U,).

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(weight_normalized(ops.array([3.0, 4.0]), 10.0)).round(4).tolist()
    [6.0, 8.0]
    """
    return ops.multiply(g, unit_vectors(v))


def unit_vectors(x: Tensor) -> Tensor:
    """Scales vectors to length 1; a vector of zeros stays zero.

    The gradient is inversely proportional to the length, which overflows for short vectors. Below
    a length of 1e-6, or 1e-3 in float16, it is bounded: it is that of `x / 1e-6` or `x / 1e-3`.

    Args:
        x: (..., D).

    Returns:
        Tensor of the shape and dtype of `x`.

    Example:

    >>> from keras import ops
    >>> vectors = ops.array([[3.0, 4.0], [3e-30, 4e-30], [0.0, 0.0]])
    >>> ops.convert_to_numpy(unit_vectors(vectors)).round(4).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    x = ops.convert_to_tensor(x)
    dtype = keras.backend.standardize_dtype(x.dtype)
    shortest = 1e-3 if dtype == "float16" else 1e-6
    x = at_least_float32(x)
    # `initial` is for batches without vectors
    largest = ops.max(ops.absolute(ops.stop_gradient(x)), axis=-1, keepdims=True, initial=0.0)
    is_zero = ops.less(largest, 1e-37)  # its inverse would be infinite
    x_scaled = x / ops.where(is_zero, 1.0, largest)  # the squares neither overflow nor vanish
    square = ops.sum(ops.square(x_scaled), axis=-1, keepdims=True)
    length = ops.sqrt(ops.where(is_zero, 1.0, square))  # (..., 1), of x_scaled, at least 1
    unit = x_scaled / length
    with_bounded_gradient = x / shortest + ops.stop_gradient(unit - x / shortest)
    is_short = ops.less(ops.stop_gradient(length) * largest, shortest)
    return ops.cast(ops.where(is_short, with_bounded_gradient, unit), dtype)


def _float16_to_float32(x):
    is_float16 = keras.backend.standardize_dtype(x.dtype) == "float16"
    return ops.cast(x, "float32") if is_float16 else x


def _check_width(query, keys):
    if query.shape[-1] != keys.shape[-1]:
        raise ValueError(
            "`query` and `keys` must have the same width. "
            f"Received: query.shape={tuple(query.shape)}, keys.shape={tuple(keys.shape)}"
        )
