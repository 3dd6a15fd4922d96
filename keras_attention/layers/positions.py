"""Position schemes as objects: MultiHeadAttention takes one and asks it two things."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.validation import check_positive
from keras_attention.ops.positions import SCALINGS, alibi_slopes, relative_buckets, rotary


@keras.saving.register_keras_serializable(package="keras_attention")
class PositionEncoding(keras.layers.Layer):
    """Base of the position schemes: it changes nothing. A scheme overrides one of two methods.

    Shapes: B batch, H heads, T queries, S keys, D width of a head.

    Example:

    A bias of 1 for the query's own position:

    >>> class Own(PositionEncoding):
    ...     def bias(self, query_positions, key_positions):
    ...         own = ops.equal(distances(query_positions, key_positions), 0)
    ...         return ops.cast(ops.expand_dims(own, 1), "float32")
    >>> ops.convert_to_numpy(Own().bias(ops.array([[1]]), ops.array([[0, 1]]))).tolist()
    [[[[0.0, 1.0]]]]
    """

    def build(self, shape: Any = None):
        self.built = True

    def rotate(self, x: Any, positions: Any):
        """Changes queries and keys before their product.

        Args:
            x: (B, H, T, D).
            positions: int32 (B, T) or (1, T).

        Returns:
            Tensor like `x`.
        """
        return x

    def bias(self, query_positions: Any, key_positions: Any):
        """What is added to the scaled energies.

        Args:
            query_positions: int32 (B, T) or (1, T).
            key_positions: int32 (B, S) or (1, S).

        Returns:
            float32 (B or 1, H, T, S), or `None`.
        """
        return None


@keras.saving.register_keras_serializable(package="keras_attention")
class RotaryEmbedding(PositionEncoding):
    """Queries and keys turned by their positions, RoFormer's (`ops.positions.rotary`).

    Args:
        base: The larger, the longer the longest wavelength.
        scaling: `None`, or, to read texts `factor` times longer than in training, `"linear"`
            (Chen et al. 2023) or `"ntk"`.
        factor: How many times longer; needs a scaling.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Raises:
        ValueError: If `base` or `factor` is not positive, the scaling is unknown, or there is a
            factor without one. When it rotates: if the width of a head is odd.

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
            raise ValueError(f"scaling: expected one of {SCALINGS}. Received: scaling={scaling!r}")
        if scaling is None and factor != 1:
            raise ValueError(
                "factor: expected 1 without a scaling. "
                f"Received: scaling={scaling}, factor={factor}"
            )
        self.base = base
        self.scaling = scaling
        self.factor = factor

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
    """A learned bias for each head and bucket of distances, T5's.

    Args:
        num_heads: H.
        num_buckets: How many distances are told apart.
        max_distance: Everything as far or farther shares a bucket.
        bidirectional: Whether keys after the query are told apart; a causal decoder sees none.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Raises:
        ValueError: If `num_heads` is not positive, there are too few buckets, or `max_distance` is
            not above the ones that are exact.

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
        self.buckets([0])  # A bad number raises here and not in the model's first call.

    def build(self, shape: Any = None):
        self.table = self.add_weight(
            shape=(self.num_buckets, self.num_heads),
            initializer="random_normal",
            autocast=False,  # Energies of a half-precision model get the bias in float32.
            name="table",
        )
        self.built = True

    def buckets(self, distance: Any):
        return relative_buckets(distance, self.num_buckets, self.max_distance, self.bidirectional)

    def bias(self, query_positions: Any, key_positions: Any):
        buckets = self.buckets(distances(query_positions, key_positions))
        bias = ops.take(ops.cast(self.table, "float32"), buckets, axis=0)  # (B, T, S, H)
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
    """A penalty of `slope * |query - key|`, with a slope for each head and nothing to learn.

    The paper has it for a causal decoder, where keys stand before the query; the distance without
    its sign serves encoders too.

    Args:
        num_heads: H.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

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
        slopes = ops.convert_to_tensor(alibi_slopes(self.num_heads), "float32")
        distance = ops.absolute(distances(query_positions, key_positions))  # (B, T, S)
        distance = ops.cast(ops.expand_dims(distance, 1), "float32")  # (B, 1, T, S)
        return -ops.reshape(slopes, (1, -1, 1, 1)) * distance  # (B, H, T, S)

    def get_config(self) -> dict:
        return {**super().get_config(), "num_heads": self.num_heads}


def distances(query_positions: Any, key_positions: Any):
    """Position of the key less that of the query: (B, T), (B, S) -> int32 (B, T, S)."""
    queries, keys = ops.cast(query_positions, "int32"), ops.cast(key_positions, "int32")
    return ops.expand_dims(keys, 1) - ops.expand_dims(queries, 2)
