"""Where things stand: sinusoids, rotations, buckets of distances and slopes, all in float32.

Positions are integers, so that what is looked at may be shifted, packed or read from a cache.
"""

import math
from typing import Any

import keras
from keras import ops

LAYOUTS = ("interleaved", "halves")
SCALINGS = (None, "linear", "ntk")


def sinusoidal(positions: Any, width: int, layout: str = "interleaved"):
    """The sinusoids of the Transformer (Vaswani 2017, section 3.5).

    Feature `2i` is `sin(pos / 10000^(2i / width))`, and `2i + 1` is the cosine of the same.

    Args:
        positions: Integer tensor of any shape, usually (B, T) or (1, T).
        width: Features of a position; even.
        layout: `"interleaved"`, sines and cosines in turn as in the paper, or `"halves"`, all sines
            and then all cosines as in Marian.

    Returns:
        float32 tensor (..., width).

    Raises:
        ValueError: If the width is odd or not positive, or the layout is unknown.

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(sinusoidal(ops.array([[1]]), 4)).round(2).tolist()
    [[[0.8399999737739563, 0.5400000214576721, 0.009999999776482582, 1.0]]]
    """
    if width <= 0 or width % 2:
        raise ValueError(f"width: expected an even number above 0. Received: width={width}")
    if layout not in LAYOUTS:
        raise ValueError(f"layout: expected one of {LAYOUTS}. Received: layout={layout!r}")
    rates = _rates(width)
    if layout == "interleaved":
        rates = [rate for rate in rates for _ in range(2)]
        is_sine = [True, False] * (width // 2)
    else:
        rates = rates * 2
        is_sine = [True] * (width // 2) + [False] * (width // 2)
    angles = _times(ops.expand_dims(positions, -1), rates)  # (..., width)
    # Both of them and a choice: stacking and reshaping wants more than one unknown size.
    return ops.where(ops.convert_to_tensor(is_sine), ops.sin(angles), ops.cos(angles))


def rotary(
    x: Any, positions: Any, base: float = 10000.0, scaling: str | None = None, factor: float = 1.0
):
    """Turns each pair of features by an angle that grows with the position (Su 2021, equation 34).

    The product of two rotated vectors depends on the distance between their positions alone. Pairs
    are (i, i + D/2), the layout of GPT-NeoX and Llama, not (2i, 2i + 1) of the paper.

    | scaling | what reaches further than the positions of the training |
    | --- | --- |
    | `None` | nothing |
    | `"linear"` | `positions / factor` (Chen 2023, section 2.3) |
    | `"ntk"` | `base * factor^(D / (D - 2))`: slow pairs slower, the fastest one as it was |

    Args:
        x: (B, H, T, D), queries or keys with the heads before time.
        positions: Integer tensor (B, T) or (1, T).
        base: The wavelengths are between 2 pi and nearly 2 pi times this.
        scaling: One of the above.
        factor: How many times longer the text may be.

    Returns:
        Tensor like `x`.

    Raises:
        ValueError: If D is odd, or 2 with "ntk", or the scaling is unknown.

    Example:

    >>> from keras import ops
    >>> x = ops.array([[[[1.0, 0.0]]]])
    >>> ops.convert_to_numpy(rotary(x, ops.array([[0]]))).tolist()
    [[[[1.0, 0.0]]]]
    """
    width = x.shape[-1]
    if width % 2 or (scaling == "ntk" and width == 2):
        raise ValueError(
            'x: expected an even width D, above 2 with scaling="ntk". '
            f"Received: x.shape={tuple(x.shape)}, scaling={scaling!r}"
        )
    if scaling not in SCALINGS:
        raise ValueError(f"scaling: expected one of {SCALINGS}. Received: scaling={scaling!r}")
    if scaling == "ntk":
        base = base * factor ** (width / (width - 2))
    slower = factor if scaling == "linear" else 1.0
    rates = [rate / slower for rate in _rates(width, base)]
    angles = _times(ops.expand_dims(positions, (1, 3)), rates)  # (B, 1, T, D/2)
    cos, sin = ops.cos(angles), ops.sin(angles)
    dtype = keras.backend.standardize_dtype(x.dtype)
    x = ops.cast(x, "float32")
    first, second = x[..., : width // 2], x[..., width // 2 :]  # (B, H, T, D/2) each
    turned = ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return ops.cast(turned, dtype)  # (B, H, T, D)


def relative_buckets(
    distance: Any, num_buckets: int = 32, max_distance: int = 128, bidirectional: bool = True
):
    """T5's buckets: one for each short distance, wider and wider ones up to the largest.

    With n distances to one side, `m = n / 2` of them exact, a distance `d >= m` is in bucket
    `min(n - 1, m + floor(log(d / m) / log(max_distance / m) * (n - m)))` (Raffel 2020, section 2.1,
    and its code). Both ways, the upper half of the buckets is for keys after the query; one way,
    those are all in bucket 0.

    Args:
        distance: Integer tensor of any shape: position of the key less that of the query.
        num_buckets: How many there are, for both sides together.
        max_distance: Everything as far or farther shares the last bucket.
        bidirectional: Whether keys after the query are told apart.

    Returns:
        int32 tensor of the same shape, from 0 to `num_buckets - 1`.

    Raises:
        ValueError: If there are too few buckets, or `max_distance` is not above the exact ones.

    Example:

    >>> from keras import ops
    >>> buckets = relative_buckets(ops.array([-200, -20, -1, 0, 1, 20, 200]))
    >>> ops.convert_to_numpy(buckets).tolist()
    [15, 10, 1, 0, 17, 26, 31]
    """
    a_side = num_buckets // 2 if bidirectional else num_buckets
    exact = a_side // 2
    if exact < 1 or max_distance <= exact:
        raise ValueError(
            "num_buckets: expected at least 2 (4 when bidirectional), and max_distance above half "
            "of the buckets of a side. "
            f"Received: num_buckets={num_buckets}, max_distance={max_distance}, "
            f"bidirectional={bidirectional}"
        )
    table = _buckets_of_a_side(a_side, exact, max_distance)
    distance = ops.cast(distance, "int32")
    behind = ops.absolute(distance) if bidirectional else ops.maximum(-distance, 0)
    buckets = ops.take(ops.convert_to_tensor(table, "int32"), ops.minimum(behind, max_distance))
    if bidirectional:
        buckets = buckets + a_side * ops.cast(ops.greater(distance, 0), "int32")
    return buckets


def alibi_slopes(num_heads: int) -> list[float]:
    """How steep each head's penalty of distance is (Press 2022, section 3).

    They are `2^(-8/n), 2^(-16/n), ..., 2^-8`. Where n is not a power of two the heads take the
    slopes of the power below it, and the rest every other one of the power above it, as in the
    paper's code.

    Args:
        num_heads: n.

    Returns:
        A slope for each head.

    Raises:
        ValueError: If there is no head.

    Example:

    >>> alibi_slopes(3)
    [0.0625, 0.00390625, 0.25]
    """
    if num_heads < 1:
        raise ValueError(f"num_heads: expected at least 1. Received: num_heads={num_heads}")
    below = 2 ** (num_heads.bit_length() - 1)
    slopes = [2 ** (-8 * i / below) for i in range(1, below + 1)]
    between = [2 ** (-8 * i / (2 * below)) for i in range(1, 2 * below, 2)]
    return slopes + between[: num_heads - below]


def _rates(width, base=10000.0):
    """Radians by which a pair of features turns from one position to the next, `base^(-2i/D)`."""
    return [base ** (-2 * i / width) for i in range(width // 2)]


def _times(positions, rates):
    return ops.cast(positions, "float32") * ops.convert_to_tensor(rates, "float32")


def _buckets_of_a_side(a_side, exact, max_distance):
    """The bucket of each distance from 0 to `max_distance`, as a table.

    Logarithms in the graph would round differently on each backend where a bucket begins; here
    they are in float64, and what is short of the next bucket by rounding alone is moved into it.
    """
    octaves = math.log(max_distance / exact)
    buckets = list(range(exact))
    for distance in range(exact, max_distance + 1):
        step = int(math.log(distance / exact) / octaves * (a_side - exact) + 1e-9)
        buckets.append(min(exact + step, a_side - 1))
    return buckets
