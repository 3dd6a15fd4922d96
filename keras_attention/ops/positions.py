"""Position encodings: sinusoids, rotations, distance buckets and slopes, at least in float32.

Positions are integer tensors, so that a sequence may be padded, packed or read from a cache.
"""

import math

from keras import ops

from keras_attention.ops.dtypes import at_least_float32
from keras_attention.types import Tensor

LAYOUTS = ("interleaved", "halves")
SCALINGS = (None, "linear", "ntk")


def as_positions(positions: Tensor | None, length: Tensor) -> Tensor:
    """Returns positions of shape (1, T) or (B, T).

    Args:
        positions: int (B, T) or (T,), a scalar for all, or `None` for 0, 1, 2, ...
        length: T.

    Returns:
        int32 tensor.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(as_positions(None, 3)).tolist()
    [[0, 1, 2]]
    """
    if positions is None:
        positions = ops.arange(length, dtype="int32")
    positions = ops.cast(positions, "int32")
    return positions if len(positions.shape) == 2 else ops.reshape(positions, (1, -1))


def sinusoidal(
    positions: Tensor, width: int, layout: str = "interleaved", dtype: str = "float32"
) -> Tensor:
    """Computes the sinusoids of the Transformer (Vaswani et al. 2017, section 3.5).

    Feature `2i` is `sin(pos / 10000^(2i / width))`, and `2i + 1` is the cosine of the same.

    Args:
        positions: integer tensor of any shape, usually (B, T) or (1, T).
        width: number of features, even.
        layout: `"interleaved"`, alternating sines and cosines as in the paper, or `"halves"`, all
            sines and then all cosines as in Marian.
        dtype: `"float32"` or `"float64"`.

    Returns:
        Tensor (..., width) of that dtype.

    Raises:
        ValueError: If the width is odd or not positive, or the layout is unknown.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(sinusoidal(ops.array([[1]]), 4)).round(2).tolist()
    [[[0.8399999737739563, 0.5400000214576721, 0.009999999776482582, 1.0]]]
    """
    if width <= 0 or width % 2:
        raise ValueError(f"`width` must be positive and even. Received: width={width}")
    if layout not in LAYOUTS:
        raise ValueError(f"`layout` must be one of {LAYOUTS}. Received: layout={layout!r}")
    rates = _rates(width)
    if layout == "interleaved":
        rates = [rate for rate in rates for _ in range(2)]
        is_sine = [True, False] * (width // 2)
    else:
        rates = rates * 2
        is_sine = [True] * (width // 2) + [False] * (width // 2)
    angles = _angles(ops.expand_dims(positions, -1), rates, dtype)  # (..., width)
    # A choice between sine and cosine avoids a reshape with more than one unknown size.
    return ops.where(ops.convert_to_tensor(is_sine), ops.sin(angles), ops.cos(angles))


def check_rotary_width(width: int, scaling: str | None) -> None:
    """Raises a `ValueError` for a number of features that `rotary` cannot rotate."""
    if width % 2 or (scaling == "ntk" and width == 2):
        raise ValueError(
            'The width of a head must be even, and greater than 2 if scaling="ntk". '
            f"Received: width={width}, scaling={scaling!r}"
        )


def rotary(
    x: Tensor,
    positions: Tensor,
    base: float = 10000.0,
    scaling: str | None = None,
    factor: float = 1.0,
) -> Tensor:
    """Rotates each pair of features by an angle proportional to the position.

    Su et al. 2021, equation 34. The product of two rotated vectors depends only on the distance
    between their positions. Pairs are (i, i + D/2), the layout of GPT-NeoX and Llama, not
    (2i, 2i + 1) as in the paper.

    `scaling` extends the range of positions beyond that of training:

    | `scaling` | change |
    | --- | --- |
    | `None` | none |
    | `"linear"` | positions are divided by `factor` (Chen et al. 2023, section 2.3) |
    | `"ntk"` | the base is multiplied by `factor^(D / (D - 2))`: slow pairs rotate more slowly, \
the fastest pair is unchanged |

    Args:
        x: queries or keys (B, H, T, D).
        positions: integer tensor (B, T) or (1, T).
        base: the wavelengths range from 2 pi to nearly 2 pi times this.
        scaling: `None`, `"linear"` or `"ntk"`.
        factor: ratio of the longest sequence to that of training.

    Returns:
        Tensor of the shape and dtype of `x`.

    Raises:
        ValueError: If D is odd, or 2 with "ntk", or the scaling is unknown.

    Example:

    >>> from keras import ops
    >>> x = ops.array([[[[1.0, 0.0]]]])
    >>> ops.convert_to_numpy(rotary(x, ops.array([[0]]))).tolist()
    [[[[1.0, 0.0]]]]
    """
    width = x.shape[-1]
    check_rotary_width(width, scaling)
    if scaling not in SCALINGS:
        raise ValueError(f"`scaling` must be one of {SCALINGS}. Received: scaling={scaling!r}")
    if scaling == "ntk":
        base = base * factor ** (width / (width - 2))
    divisor = factor if scaling == "linear" else 1.0
    rates = [rate / divisor for rate in _rates(width, base)]
    dtype, x = x.dtype, at_least_float32(x)
    angles = _angles(ops.expand_dims(positions, (1, 3)), rates, x.dtype)  # (B, 1, T, D/2)
    cos, sin = ops.cos(angles), ops.sin(angles)
    first, second = x[..., : width // 2], x[..., width // 2 :]  # (B, H, T, D/2) each
    rotated = ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return ops.cast(rotated, dtype)  # (B, H, T, D)


def relative_buckets(
    distance: Tensor, num_buckets: int = 32, max_distance: int = 128, bidirectional: bool = True
) -> Tensor:
    """Computes T5's distance buckets: one per short distance, wider ones for long distances.

    Raffel et al. 2020, section 2.1, and its code. With n buckets on one side, the first
    `m = n / 2` hold one distance each; a distance `d >= m` is in bucket
    `min(n - 1, m + floor(log(d / m) / log(max_distance / m) * (n - m)))`. If bidirectional, the
    upper half of the buckets is for keys after the query; otherwise those are in bucket 0.

    Args:
        distance: integer tensor of any shape, position of the key minus position of the query.
        num_buckets: number of buckets, of both sides together.
        max_distance: this distance and longer ones share the last bucket.
        bidirectional: whether keys after the query have buckets of their own.

    Returns:
        int32 tensor of the same shape, from 0 to `num_buckets - 1`.

    Raises:
        ValueError: If there are too few buckets, or `max_distance` is not greater than m.

    Example:

    >>> from keras import ops
    >>> buckets = relative_buckets(ops.array([-200, -20, -1, 0, 1, 20, 200]))
    >>> ops.convert_to_numpy(buckets).tolist()
    [15, 10, 1, 0, 17, 26, 31]
    """
    per_side = num_buckets // 2 if bidirectional else num_buckets
    exact = per_side // 2
    if exact < 1 or max_distance <= exact:
        raise ValueError(
            "`num_buckets` must be at least 2 (4 if bidirectional), and `max_distance` greater "
            "than half of the buckets of a side. "
            f"Received: num_buckets={num_buckets}, max_distance={max_distance}, "
            f"bidirectional={bidirectional}"
        )
    table = _bucket_table(per_side, exact, max_distance)
    distance = ops.cast(distance, "int32")
    behind = ops.absolute(distance) if bidirectional else ops.maximum(-distance, 0)
    buckets = ops.take(ops.convert_to_tensor(table, "int32"), ops.minimum(behind, max_distance))
    if bidirectional:
        buckets = buckets + per_side * ops.cast(ops.greater(distance, 0), "int32")
    return buckets


def alibi_slopes(num_heads: int) -> list[float]:
    """Returns the slope of each head's distance penalty (Press et al. 2022, section 3).

    For n heads they are `2^(-8/n), 2^(-16/n), ..., 2^-8`. If n is not a power of two, the slopes
    are those of the next lower power, followed by every other slope of the next higher power, as in
    the paper's code.

    Args:
        num_heads: n.

    Returns:
        One slope per head.

    Raises:
        ValueError: If `num_heads` is not positive.

    Example:

    >>> alibi_slopes(3)
    [0.0625, 0.00390625, 0.25]
    """
    if num_heads < 1:
        raise ValueError(f"`num_heads` must be positive. Received: num_heads={num_heads}")
    below = 2 ** (num_heads.bit_length() - 1)
    slopes = [2 ** (-8 * i / below) for i in range(1, below + 1)]
    between = [2 ** (-8 * i / (2 * below)) for i in range(1, 2 * below, 2)]
    return slopes + between[: num_heads - below]


def _rates(width, base=10000.0):
    """Returns the rotation of each pair of features per position, `base^(-2i/D)`, in radians."""
    return [base ** (-2 * i / width) for i in range(width // 2)]


def _angles(positions, rates, dtype):
    return ops.cast(positions, dtype) * ops.convert_to_tensor(rates, dtype)


def _bucket_table(per_side, exact, max_distance):
    """Returns the bucket of each distance from 0 to `max_distance`.

    Logarithms in the graph would round differently on each backend at the bucket boundaries. Here
    they are computed in float64, with a tolerance for values that rounding puts just below one.
    """
    octaves = math.log(max_distance / exact)
    buckets = list(range(exact))
    for distance in range(exact, max_distance + 1):
        step = int(math.log(distance / exact) / octaves * (per_side - exact) + 1e-9)
        buckets.append(min(exact + step, per_side - 1))
    return buckets
