"""Position encodings inside attention: rotary embedding, relative position bias, ALiBi."""

from typing import Any, TypeGuard

import keras
from keras import ops

from keras_attention.ops.dtypes import at_least_float32
from keras_attention.ops.positions import (
    SCALINGS,
    alibi_slopes,
    check_rotary_width,
    relative_buckets,
    rotary,
)
from keras_attention.utils.validation import check_positive


@keras.saving.register_keras_serializable(package="keras_attention")
class PositionEncoding(keras.layers.Layer):
    """Base class of the position encodings of `MultiHeadAttention`.

    A subclass overrides `rotate`, which is applied to queries and keys before their product, or
    `bias`, which is added to their scores. The base class leaves both unchanged.

    Shapes: B batch, H heads, T queries, S keys, D size of a head.

    Example:

    A bias of 1 for the query's own position:

    >>> class SamePositionBias(PositionEncoding):
    ...     def bias(self, query_positions, key_positions):
    ...         same = ops.equal(distances(query_positions, key_positions), 0)
    ...         return ops.cast(ops.expand_dims(same, 1), "float32")
    >>> bias = SamePositionBias().bias(ops.array([[1]]), ops.array([[0, 1]]))
    >>> ops.convert_to_numpy(bias).tolist()
    [[[[0.0, 1.0]]]]
    """

    def build(self, shape: Any = None):
        self.built = True

    def check_width(self, width: int) -> None:
        """Raises a `ValueError` if heads of this width cannot be encoded."""

    def rotate(self, x: Any, positions: Any):
        """Encodes positions in queries or keys, before their product.

        Args:
            x: Queries or keys, `(B, H, T, D)`.
            positions: Their positions, int32 `(B, T)` or `(1, T)`.

        Returns:
            Tensor of the shape and dtype of `x`.
        """
        return x

    def bias(self, query_positions: Any, key_positions: Any):
        """Returns the bias that is added to the scaled scores.

        Args:
            query_positions: Positions of the queries, int32 `(B, T)` or `(1, T)`.
            key_positions: Positions of the keys, int32 `(B, S)` or `(1, S)`.

        Returns:
            Bias `(B or 1, H, T, S)` in float32, or float64 if that is the layer's dtype, or `None`.
        """
        return None


@keras.saving.register_keras_serializable(package="keras_attention")
class RotaryEmbedding(PositionEncoding):
    """Rotary position embedding of queries and keys (RoPE).

    See `ops.positions.rotary` for the equation and the scalings.

    Args:
        base: Base of the wavelengths; a larger base gives longer wavelengths.
        scaling: Method of extending the context beyond the length of the training texts:
            `"linear"` (Chen et al. 2023), `"ntk"`, or `None`.
        factor: Factor by which the context is extended; 1 without a scaling.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Raises:
        ValueError: If `base` or `factor` is not positive, `scaling` is unknown, or there is a
            factor without scaling; when a layer with it is built, if the width of a head is odd.

    References:
        Su et al. 2021, [RoFormer: Enhanced Transformer with Rotary Position
        Embedding](https://arxiv.org/abs/2104.09864). Chen et al. 2023, [Extending Context Window
        of Large Language Models via Positional Interpolation](https://arxiv.org/abs/2306.15595).

    Example:

    >>> positions = RotaryEmbedding()
    >>> x = ops.ones((1, 2, 3, 4))
    >>> tuple(positions.rotate(x, ops.array([[0, 1, 2]])).shape)
    (1, 2, 3, 4)
    """

    def __init__(
        self,
        base: float = 10000.0,
        scaling: str | None = None,
        factor: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_positive("base", base)
        check_positive("factor", factor)
        if scaling not in SCALINGS:
            raise ValueError(f"`scaling` must be one of {SCALINGS}. Received: scaling={scaling!r}")
        if scaling is None and factor != 1:
            raise ValueError(
                "`factor` must be 1 without a scaling. "
                f"Received: scaling={scaling}, factor={factor}"
            )
        self.base = base
        self.scaling = scaling
        self.factor = factor

    def check_width(self, width: int) -> None:
        check_rotary_width(width, self.scaling)

    def rotate(self, x: Any, positions: Any):
        return rotary(x, positions, self.base, self.scaling, self.factor)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "base": self.base,
            "scaling": self.scaling,
            "factor": self.factor,
        }


@keras.saving.register_keras_serializable(package="keras_attention")
class RelativePositionBias(PositionEncoding):
    """Relative position bias of T5: a learned bias for each head and bucket of distances.

    The blocks of a Transformer share one table: pass the layer to the stack, as `position_bias` of
    `TransformerEncoder`, `TransformerDecoder` or `CausalLMDecoder`.

    Args:
        num_heads: Number of attention heads H.
        num_buckets: Number of buckets of distances.
        max_distance: Distance from which on all keys share the last bucket.
        bidirectional: Whether keys after the query have buckets of their own; `False` for causal
            attention.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Raises:
        ValueError: If `num_heads` is not positive, there are too few buckets, or `max_distance` is
            not larger than the number of buckets of a single distance.

    References:
        Raffel et al. 2020, [Exploring the Limits of Transfer Learning with a Unified Text-to-Text
        Transformer](https://arxiv.org/abs/1910.10683), section 2.1.

    Example:

    >>> positions = RelativePositionBias(num_heads=2)
    >>> positions.build()
    >>> tuple(positions.bias(ops.array([[0, 1, 2]]), ops.array([[0, 1, 2, 3]])).shape)
    (1, 2, 3, 4)
    """

    def __init__(
        self,
        num_heads: int,
        num_buckets: int = 32,
        max_distance: int = 128,
        bidirectional: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_positive("num_heads", num_heads)
        self.num_heads = num_heads
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        self.buckets([0])  # raises an error here, not in the first call, if a number is invalid

    def build(self, shape: Any = None):
        self.table = self.add_weight(
            shape=(self.num_buckets, self.num_heads),
            initializer="random_normal",
            autocast=False,  # the bias is added to the scores in float32
            name="table",
        )
        self.built = True

    def buckets(self, distance: Any):
        """Returns the bucket of each distance, int32, see `ops.positions.relative_buckets`."""
        return relative_buckets(distance, self.num_buckets, self.max_distance, self.bidirectional)

    def bias(self, query_positions: Any, key_positions: Any):
        buckets = self.buckets(distances(query_positions, key_positions))
        bias = ops.take(at_least_float32(self.table), buckets, axis=0)  # (B, T, S, H)
        return ops.transpose(bias, (0, 3, 1, 2))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "num_buckets": self.num_buckets,
            "max_distance": self.max_distance,
            "bidirectional": self.bidirectional,
        }


@keras.saving.register_keras_serializable(package="keras_attention")
class AlibiBias(PositionEncoding):
    """Attention with linear biases (ALiBi): a penalty of `slope * |query - key|` per head.

    The slopes are fixed, not learned. The paper applies them to causal attention; the absolute
    value of the distance makes them suitable for encoders as well.

    Args:
        num_heads: Number of attention heads H.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Raises:
        ValueError: If `num_heads` is not positive.

    References:
        Press et al. 2022, [Train Short, Test Long: Attention with Linear Biases Enables Input
        Length Extrapolation](https://arxiv.org/abs/2108.12409).

    Example:

    >>> bias = AlibiBias(num_heads=1).bias(ops.array([[512]]), ops.array([[0, 256, 512]]))
    >>> ops.convert_to_numpy(bias).tolist()
    [[[[-2.0, -1.0, -0.0]]]]
    """

    def __init__(self, num_heads: int, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("num_heads", num_heads)
        self.num_heads = num_heads

    def bias(self, query_positions: Any, key_positions: Any):
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        slopes = ops.convert_to_tensor(alibi_slopes(self.num_heads), dtype)
        distance = ops.absolute(distances(query_positions, key_positions))  # (B, T, S)
        distance = ops.cast(ops.expand_dims(distance, 1), dtype)  # (B, 1, T, S)
        return -ops.reshape(slopes, (1, -1, 1, 1)) * distance  # (B, H, T, S)

    def get_config(self) -> dict:
        return {**super().get_config(), "num_heads": self.num_heads}


def has_bias(encoding: PositionEncoding | None) -> TypeGuard[PositionEncoding]:
    """Returns whether a position encoding adds a bias to the scores."""
    return encoding is not None and type(encoding).bias is not PositionEncoding.bias


def distances(query_positions: Any, key_positions: Any):
    """Returns the distances from query to key, `key position - query position`.

    Args:
        query_positions: `(B, T)` or `(1, T)`.
        key_positions: `(B, S)` or `(1, S)`.

    Returns:
        int32 `(B or 1, T, S)`.
    """
    queries, keys = ops.cast(query_positions, "int32"), ops.cast(key_positions, "int32")
    return ops.expand_dims(keys, 1) - ops.expand_dims(queries, 2)
