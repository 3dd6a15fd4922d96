"""Multi-head attention."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.base_attention import BaseAttention
from keras_attention.layers.build import build_if_needed, deserialize_config
from keras_attention.layers.positions import PositionEncoding
from keras_attention.layers.validation import (
    check_built,
    check_heads,
    check_mask,
    check_positions,
    check_positive,
    check_query,
    check_values,
    check_window,
)
from keras_attention.ops import heads, masks, scores
from keras_attention.ops.attention import AttentionOutput, Memory, context, masked_softmax
from keras_attention.types import Mask, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class MultiHeadAttention(BaseAttention):
    """Attention in several heads, each with its own projections (Vaswani et al. 2017, 3.2.2).

        MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W^O
        head_i = softmax(Q W_i^Q (K W_i^K)^T / sqrt(key_dim)) V W_i^V

    It is called as `keras.layers.MultiHeadAttention` is; the scores are `(batch, heads, queries,
    keys)`. There is one path: asking for the scores, a mask or dropout does not change what is
    computed. The scores are the weights before dropout.

    Args:
        num_heads: heads of the query.
        key_dim: width of a head's query and keys.
        value_dim: width of a head's values; `None` is `key_dim`.
        num_key_value_heads: heads of keys and values, a divisor of `num_heads`: fewer are grouped
            queries (Ainslie et al. 2023), 1 is multi-query (Shazeer 2019). `None` is `num_heads`.
        dropout: rate on the weights.
        output_dropout: rate on the output.
        use_bias: whether the four projections have a bias.
        output_dim: width of the output; `None` is the query's.
        qk_norm: RMS-normalize each head's query and keys (Dehghani et al. 2023, with LayerNorm).
        soft_cap: keeps the energies within this bound, `cap * tanh(e / cap)` (Gemma 2, 2024).
        window: a query sees keys less than this far from it, for queries and keys of one sequence;
            with a causal mask itself and the `window - 1` before it (Beltagy et al. 2020).
        positions: a scheme of `keras_attention.layers`: `RotaryEmbedding`, `RelativePositionBias`,
            `AlibiBias`, or `None`.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Raises:
        ValueError: If a size is not positive, the heads do not divide, or the positions are for
            another number of them; when called, if the shapes do not fit, a mask is not (batch,
            queries, keys), or there is a window and the lengths of queries and keys differ.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762).

    Example:

    >>> import numpy as np
    >>> layer = MultiHeadAttention(num_heads=4, key_dim=8, num_key_value_heads=2)
    >>> query, value = np.ones((2, 3, 16), "float32"), np.ones((2, 7, 6), "float32")
    >>> output, scores = layer(query, value, return_attention_scores=True)
    >>> tuple(output.shape), tuple(scores.shape)
    ((2, 3, 16), (2, 4, 3, 7))
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        num_key_value_heads: int | None = None,
        dropout: float = 0.0,
        output_dropout: float = 0.0,
        use_bias: bool = True,
        output_dim: int | None = None,
        qk_norm: bool = False,
        soft_cap: float | None = None,
        window: int | None = None,
        positions: PositionEncoding | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = key_dim if value_dim is None else value_dim
        self.num_key_value_heads = num_heads if num_key_value_heads is None else num_key_value_heads
        self.use_bias = use_bias
        self.output_dim = output_dim
        self.qk_norm = qk_norm
        self.soft_cap = soft_cap
        self.window = window
        self.positions = positions
        for name in ("num_heads", "key_dim", "value_dim", "num_key_value_heads"):
            check_positive(name, getattr(self, name))
        for name in ("output_dim", "soft_cap", "window"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        check_heads(num_heads, self.num_key_value_heads)
        check_positions(num_heads, positions)
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.output_dropout = keras.layers.Dropout(output_dropout, dtype=self.dtype_policy)

    def build(self, query_shape, value_shape, key_shape=None):
        expand_key_mask = self.num_key_value_heads * self.key_dim
        of_values = self.num_key_value_heads * self.value_dim
        bias = self.use_bias
        self.query_dense = self.projection(
            "query", self.num_heads * self.key_dim, query_shape, bias
        )
        self.key_dense = self.projection("key", expand_key_mask, key_shape or value_shape, bias)
        self.value_dense = self.projection("value", of_values, value_shape, bias)
        self.build_rest(query_shape)

    def build_rest(self, query_shape):
        """What stands behind the projections of query, keys and values."""
        if self.qk_norm:
            same = {"dtype": self.dtype_policy}
            self.query_norm = keras.layers.RMSNormalization(name="query_norm", **same)
            self.key_norm = keras.layers.RMSNormalization(name="key_norm", **same)
            self.query_norm.build((None, None, None, self.key_dim))
            self.key_norm.build((None, None, None, self.key_dim))
        if self.positions is not None:
            build_if_needed(self.positions, ())
        self.output_dense = self.projection(
            "output",
            self.output_dim or query_shape[-1],
            (None, None, self.num_heads * self.value_dim),
            self.use_bias,
        )
        self.built = True

    def memory(
        self,
        values: Tensor,
        keys: Tensor | None = None,
        mask: Mask = None,
        positions: Tensor | None = None,
    ) -> Memory:
        """Projects keys and values; call it once, before any loop over queries.

        Args:
            values: (B, S, D).
            keys: (B, S, K); `None` takes `values`.
            mask: bool (B, S), True means attend.
            positions: positions of the keys, int (S,) or (B, S); `None` is 0, 1, 2, ...

        Returns:
            A `Memory` whose keys and values are (B, heads, S, head width).

        Raises:
            ValueError: If keys or mask do not have the batch size and length of `values`, or the
                layer is not built.
        """
        check_values(values, keys, mask)
        check_built(self)
        values = ops.cast(values, self.compute_dtype)
        keys = values if keys is None else ops.cast(keys, self.compute_dtype)
        return self._remember(self.project_keys(keys), self.project_values(values), mask, positions)

    def attend(
        self,
        query: Tensor,
        memory: Memory,
        *,
        mask: Mask = None,
        state: Tensor | None = None,
        positions: Tensor | None = None,
        return_weights: bool = False,
        training: bool = False,
    ) -> AttentionOutput:
        """Attends with any number of queries.

        Args:
            query: (B, T, Q).
            memory: from `memory`.
            mask: bool (B, T, S) or (B, 1, S), combined with the memory's mask.
            state: unused; multi-head attention has no state.
            positions: positions of the queries, an int scalar, (T,) or (B, T); `None` is 0, 1, 2,
                ...
            return_weights: whether to return the weights.
            training: whether dropout is applied.

        Returns:
            An `AttentionOutput`: the output projection (B, T, output_dim), the weights
            (B, H, T, S) or `None` unless requested, and no state.

        Raises:
            ValueError: If the query or the mask does not match the memory.
        """
        check_query(query, memory.values, None)
        query = self.project_query(ops.cast(query, self.compute_dtype))
        output, weights = self.look(query, memory, mask, positions, training)
        return AttentionOutput(output, weights if return_weights else None, None)

    def attend_sequence(
        self,
        queries: Tensor,
        memory: Memory,
        *,
        mask: Mask = None,
        return_weights: bool = False,
        training: bool = False,
    ) -> AttentionOutput:
        check_window(self.window, queries.shape[1], memory.values.shape[2])
        return self.attend(
            queries, memory, mask=mask, return_weights=return_weights, training=training
        )

    def attend_to_self(
        self,
        x: Any,
        mask: Any = None,
        position: Any = None,
        cache: Memory | None = None,
        slot: Any = None,
        training: bool = False,
    ) -> tuple[Any, Memory, Any]:
        """Self-attention that returns its memory, and can go on from an earlier one.

        Args:
            x: (B, T, Q).
            mask: Bool (B, T, S) or (B, 1, S).
            position: where `x` stands, as in `attend`.
            cache: a memory of S slots, filled so far by earlier calls; `None` looks at `x` alone.
            slot: int scalar, the slot that x, then T = 1 long, takes in the cache.
            training: whether there is dropout.

        Returns:
            The output (B, T, output_dim), the memory, the scores (B, H, T, S).
        """
        query, keys, values = self.project(ops.cast(x, self.compute_dtype))
        memory = self._remember(keys, values, None, position)
        if cache is not None:
            memory = heads.extend(cache, memory, slot)
        output, scores = self.look(query, memory, mask, position, training)
        return output, memory, scores

    def look(self, query, memory, mask, position, training):
        """`attend` with a projected query, (B, H, T, D)."""
        check_mask(mask, (query.shape[0], query.shape[2], memory.values.shape[2]))
        places = as_positions(position, ops.shape(query)[2])
        if self.positions is not None:
            query = self.positions.rotate(query, places)
        attention_scores = self._cap(scores.scaled_dot(query, memory.keys))  # (B, H, T, S)
        if self.positions is not None:
            bias = self.positions.bias(places, memory.positions)
            if bias is not None:  # float32, or far distances are rounded to one another
                attention_scores = ops.cast(attention_scores, "float32") + bias
        mask = masks.combine_masks(
            masks.expand_key_mask(memory.mask),
            mask,
            None
            if self.window is None
            else masks.sliding_window_mask(places, memory.positions, self.window),
        )
        mask = None if mask is None else ops.expand_dims(mask, 1)  # (B, 1, 1 or T, S)
        weights = ops.cast(masked_softmax(attention_scores, mask), self.compute_dtype)
        dropped = self.dropout(weights, training=training)
        output = heads.merge_heads(context(dropped, memory.values))  # (B, T, H * V)
        return self.output_dropout(self.output_dense(output), training=training), weights

    def project(self, x):
        """Query, keys and values of one sequence, (B, heads, T, width of a head) each."""
        return self.project_query(x), self.project_keys(x), self.project_values(x)

    def project_query(self, query):
        return self._normed(
            "query_norm", heads.split_heads(self.query_dense(query), self.num_heads)
        )

    def project_keys(self, keys):
        keys = heads.split_heads(self.key_dense(keys), self.num_key_value_heads)
        return self._normed("key_norm", keys)

    def project_values(self, values):
        return heads.split_heads(self.value_dense(values), self.num_key_value_heads)

    def _normed(self, name, x):
        return getattr(self, name)(x) if self.qk_norm else x

    def _cap(self, attention_scores):
        if self.soft_cap is None:
            return attention_scores
        return ops.tanh(attention_scores / self.soft_cap) * self.soft_cap

    def _remember(self, keys, values, mask, position):
        places = as_positions(position, ops.shape(keys)[2])
        if self.positions is not None:
            keys = self.positions.rotate(keys, places)
        return Memory(values, keys, None if mask is None else ops.cast(mask, "bool"), places)

    def compute_output_shape(self, query_shape, value_shape, key_shape=None):
        check_window(self.window, query_shape[1], value_shape[1])
        return (*query_shape[:-1], self.output_dim or query_shape[-1])

    def compute_weights_shape(self, query_shape, value_shape):
        return (query_shape[0], self.num_heads, query_shape[1], value_shape[1])

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "num_key_value_heads": self.num_key_value_heads,
            "dropout": self.dropout.rate,
            "output_dropout": self.output_dropout.rate,
            "use_bias": self.use_bias,
            "output_dim": self.output_dim,
            "qk_norm": self.qk_norm,
            "soft_cap": self.soft_cap,
            "window": self.window,
            "positions": keras.saving.serialize_keras_object(self.positions),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_config(config, "positions"))


def as_positions(position: Any, length: Any):
    """Positions as (1, T) or (B, T): counted from 0 where there are none, a scalar for all."""
    if position is None:
        position = ops.arange(length, dtype="int32")
    position = ops.cast(position, "int32")
    return position if len(position.shape) == 2 else ops.reshape(position, (1, -1))
