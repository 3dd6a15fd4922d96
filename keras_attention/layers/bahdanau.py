"""Bahdanau's additive attention."""

from typing import Any

import keras

from keras_attention.layers.base_attention import ScoredAttention
from keras_attention.ops import scores
from keras_attention.ops.attention import Memory
from keras_attention.ops.blockwise import ADDITIVE_BLOCK_SIZE
from keras_attention.types import Tensor
from keras_attention.utils.validation import check_positive


@keras.saving.register_keras_serializable(package="keras_attention")
class BahdanauAttention(ScoredAttention):
    """Additive attention: `e_ij = v_a . tanh(W_a s_(i-1) + U_a h_j)`.

    Bahdanau et al. 2015, equation 6 and appendix A.1.2.

    Args:
        units: width of the score's hidden layer.
        normalize: whether to use `g v_a / ||v_a||` in place of `v_a`, and a bias inside the tanh,
            as Raffel et al. 2017 (section 2.4) and tfa.seq2seq do.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        query, value, ...: see `BaseAttention`.

    Raises:
        ValueError: If `units` is not positive.

    References:
        Bahdanau et al. 2015, [Neural Machine Translation by Jointly Learning to Align and
        Translate](https://arxiv.org/abs/1409.0473).

    Example:

    >>> import numpy as np
    >>> layer = BahdanauAttention(units=4)
    >>> query, value = np.ones((2, 3, 5), "float32"), np.ones((2, 7, 6), "float32")
    >>> output, weights = layer(query, value, return_attention_scores=True)
    >>> tuple(output.shape), tuple(weights.shape)
    ((2, 3, 6), (2, 3, 7))
    """

    block_size = ADDITIVE_BLOCK_SIZE

    def __init__(self, units: int, normalize: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("units", units)
        self.units = units
        self.normalize = normalize

    def build(self, query_shape, value_shape, key_shape=None):
        self.query_dense = self.projection("query", self.units, query_shape)  # W_a
        self.key_dense = self.projection("key", self.units, key_shape or value_shape)  # U_a
        self.v = self.add_weight(shape=(self.units,), initializer="glorot_uniform", name="v")
        if self.normalize:
            length = keras.initializers.Constant(self.units**-0.5)
            self.g = self.add_weight(shape=(), initializer=length, name="g")
            self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="b")
        self.built = True

    def project_keys(self, keys: Tensor) -> Tensor:
        return self.key_dense(keys)  # U_a h_j, (B, S, U)

    def compute_scores(self, query: Tensor, memory: Memory) -> Tensor:
        query, v = self.query_dense(query), self.cast_weight(self.v)  # W_a s_(i-1), (B, T, U)
        if self.normalize:
            query = query + self.cast_weight(self.b)
            v = self.cast_weight(scores.weight_normalized(self.v, self.g))
        return scores.additive(query, memory.keys, v)  # e_ij, (B, T, S)

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units, "normalize": self.normalize}
