"""Attention by the product of query and key as they are: dot, scaled dot, cosine."""

import math
from typing import Any

import keras

from keras_attention.layers.base_attention import ScoredAttention
from keras_attention.layers.validation import check_positive, check_width
from keras_attention.ops import scores
from keras_attention.ops.attention import Memory
from keras_attention.types import Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class DotAttention(ScoredAttention):
    """Dot-product attention: `q . k`, divided by the square root of the width when `scaled`.

    Vaswani et al. 2017, equation 1; unscaled it is Luong's "dot". It has no weights.

    Args:
        scaled: Divide by the square root of the width.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

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
        check_width(query_shape, key_shape or value_shape)
        self.built = True

    def compute_scores(self, query: Tensor, memory: Memory) -> Tensor:
        score = scores.scaled_dot if self.scaled else scores.dot
        return score(query, memory.keys)

    def get_config(self) -> dict:
        return {**super().get_config(), "scaled": self.scaled}


@keras.saving.register_keras_serializable(package="keras_attention")
class ContentAttention(ScoredAttention):
    """Content-based attention: `beta_t cos(q_t, k)`, where the query sets its own sharpness.

    Graves et al. 2014, equations 5 and 6. As the controller of the paper emits `beta_t > 0` beside
    the key, `beta_t = softplus(w . q_t + b)` here, which starts at `sharpness` for every query.

    Args:
        sharpness: `beta` before training.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Raises:
        ValueError: If `sharpness` is not positive.

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
        check_width(query_shape, key_shape or value_shape)
        # softplus of this is `sharpness`, without overflow for large ones
        start = self.sharpness + math.log(-math.expm1(-self.sharpness))
        self.beta = keras.layers.Dense(
            1,
            activation="softplus",
            kernel_initializer="zeros",
            bias_initializer=keras.initializers.Constant(start),
            name="beta",
            dtype=self.dtype_policy,
        )
        self.beta.build((None, None, query_shape[-1]))
        self.built = True

    def compute_scores(self, query: Tensor, memory: Memory) -> Tensor:
        return scores.content(query, memory.keys, self.beta(query))

    def get_config(self) -> dict:
        return {**super().get_config(), "sharpness": self.sharpness}
