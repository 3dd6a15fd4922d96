"""Attention by products of unprojected queries and keys: dot, scaled dot and cosine."""

import math
from typing import Any

import keras

from keras_attention.layers.base_attention import ScoredAttention
from keras_attention.layers.validation import check_same_width
from keras_attention.ops import scores
from keras_attention.ops.attention import Memory
from keras_attention.types import Tensor
from keras_attention.utils.validation import check_positive


@keras.saving.register_keras_serializable(package="keras_attention")
class DotAttention(ScoredAttention):
    """Dot-product attention, `q . k`, or `q . k / sqrt(d)` if scaled.

    Vaswani et al. 2017, equation 1; unscaled it is Luong's "dot". It has no weights.

    Args:
        scaled: whether to divide by the square root of the width.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        query, value, ...: see `BaseAttention`.

    Raises:
        ValueError: If query and keys differ in width, when the layer is built.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762).

    Example:

    >>> import numpy as np
    >>> layer = DotAttention()
    >>> tuple(layer(np.ones((2, 3, 5), "float32"), np.ones((2, 7, 5), "float32")).shape)
    (2, 3, 5)
    """

    def __init__(self, scaled: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.scaled = scaled

    def build(self, query_shape, value_shape, key_shape=None):
        check_same_width(query_shape, key_shape or value_shape)
        self.built = True

    def compute_scores(self, query: Tensor, memory: Memory) -> Tensor:
        score_function = scores.scaled_dot if self.scaled else scores.dot
        return score_function(query, memory.keys)  # (B, T, S)

    def get_config(self) -> dict:
        return {**super().get_config(), "scaled": self.scaled}


@keras.saving.register_keras_serializable(package="keras_attention")
class ContentAttention(ScoredAttention):
    """Content-based attention, `beta_t cos(q_t, k)`, with a sharpness computed from the query.

    Graves et al. 2014, equations 5 and 6. In the paper the controller emits `beta_t > 0` together
    with the key; here `beta_t = softplus(w . q_t + b)`, initially `sharpness` for every query.

    Args:
        sharpness: initial `beta`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        query, value, ...: see `BaseAttention`.

    Raises:
        ValueError: If `sharpness` is not positive, or query and keys differ in width when the
            layer is built.

    References:
        Graves et al. 2014, [Neural Turing Machines](https://arxiv.org/abs/1410.5401).

    Example:

    >>> import numpy as np
    >>> layer = ContentAttention(sharpness=10.0)
    >>> tuple(layer(np.ones((2, 3, 5), "float32"), np.ones((2, 7, 5), "float32")).shape)
    (2, 3, 5)
    """

    def __init__(self, sharpness: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("sharpness", sharpness)
        self.sharpness = sharpness

    def build(self, query_shape, value_shape, key_shape=None):
        check_same_width(query_shape, key_shape or value_shape)
        # The inverse of softplus at `sharpness`, without overflow for large values.
        bias = self.sharpness + math.log(-math.expm1(-self.sharpness))
        self.beta = keras.layers.Dense(
            1,
            activation="softplus",
            kernel_initializer="zeros",
            bias_initializer=keras.initializers.Constant(bias),
            name="beta",
            dtype=self.dtype_policy,
        )
        self.beta.build((None, None, query_shape[-1]))
        self.built = True

    def compute_scores(self, query: Tensor, memory: Memory) -> Tensor:
        return scores.content(query, memory.keys, self.beta(query))  # (B, T, S)

    def get_config(self) -> dict:
        return {**super().get_config(), "sharpness": self.sharpness}
