"""Multi-head attention."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.base_attention import BaseAttention
from keras_attention.layers.build import build_if_needed, deserialize_config
from keras_attention.layers.positions import PositionEncoding, has_bias
from keras_attention.layers.validation import (
    check_built,
    check_heads,
    check_mask,
    check_positions,
    check_query,
    check_values,
    check_window,
)
from keras_attention.ops import heads
from keras_attention.ops.attention import (
    AttentionOptions,
    AttentionOutput,
    Memory,
    explicit_attention,
)
from keras_attention.ops.attention_mask import as_attention_mask
from keras_attention.ops.dtypes import at_least_float32
from keras_attention.ops.fused import FusedAttention, backend_attention, is_explicit
from keras_attention.ops.noise import SeededDropout
from keras_attention.ops.positions import as_positions
from keras_attention.ops.scores import scaled_dot
from keras_attention.types import Mask, Tensor
from keras_attention.utils.validation import check_positive


@keras.saving.register_keras_serializable(package="keras_attention")
class MultiHeadAttention(BaseAttention):
    """Multi-head attention with grouped queries, windows and relative positions.

        MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W^O
        head_i = softmax(Q W_i^Q (K W_i^K)^T / sqrt(key_dim)) V W_i^V

    Vaswani et al. 2017, section 3.2.2. The call has the arguments of
    `keras.layers.MultiHeadAttention`. The returned weights, `(B, H, T, S)`, are those before
    dropout. The output is the same whether they are requested or not.

    Args:
        num_heads: Number of query heads H.
        key_dim: Size of each head for query and key.
        value_dim: Size of each head for value; `key_dim` by default.
        num_key_value_heads: Number of heads of key and value, a divisor of `num_heads`. Fewer than
            `num_heads` is grouped-query attention (Ainslie et al. 2023), 1 is multi-query
            attention (Shazeer 2019). `num_heads` by default.
        dropout: Dropout rate applied to the attention weights.
        output_dropout: Dropout rate applied to the output.
        use_bias: Whether the projections have a bias.
        output_dim: Size of the output; that of the query by default.
        qk_norm: Whether to apply RMS normalization to the heads of query and key (Dehghani et al.
            2023, there with layer normalization).
        soft_cap: Bound of the scores, `cap * tanh(score / cap)` (Gemma 2, 2024), or `None`.
        window: Size of the attention window: a query attends to keys at a distance below `window`,
            which with a causal mask are itself and the `window - 1` positions before it (Beltagy
            et al. 2020). Query and key must be the same sequence. `None` is no window.
        positions: A `PositionEncoding`: `RotaryEmbedding`, `RelativePositionBias`, `AlibiBias`, or
            `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        query, value, ...: See `BaseAttention`.

    Returns:
        The output `(B, T, output_dim)`, or the pair of it and the weights `(B, H, T, S)`.

    Raises:
        ValueError: If a size is not positive, the numbers of heads do not divide, or the position
            encoding has another number of heads; in the call, if shapes do not match, or there is a
            window and the lengths of query and key differ.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762). Ainslie
        et al. 2023, [GQA](https://arxiv.org/abs/2305.13245).

    Example:

    >>> import numpy as np
    >>> layer = MultiHeadAttention(num_heads=4, key_dim=8, num_key_value_heads=2)
    >>> query, value = np.ones((2, 3, 16), "float32"), np.ones((2, 7, 6), "float32")
    >>> output, weights = layer(query, value, return_attention_scores=True)
    >>> tuple(output.shape), tuple(weights.shape)
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
        key_shape = key_shape or value_shape
        key_units = self.num_key_value_heads * self.key_dim
        value_units = self.num_key_value_heads * self.value_dim
        use_bias = self.use_bias
        self.query_dense = self.projection(
            "query", self.num_heads * self.key_dim, query_shape, use_bias
        )
        self.key_dense = self.projection("key", key_units, key_shape, use_bias)
        self.value_dense = self.projection("value", value_units, value_shape, use_bias)
        self._build_norms_and_output(query_shape)

    def _build_norms_and_output(self, query_shape):
        """Builds everything except the projections of query, key and value."""
        if self.qk_norm:
            head_shape = (None, None, None, self.key_dim)
            dtype = self.dtype_policy
            self.query_norm = keras.layers.RMSNormalization(name="query_norm", dtype=dtype)
            self.key_norm = keras.layers.RMSNormalization(name="key_norm", dtype=dtype)
            self.query_norm.build(head_shape)
            self.key_norm.build(head_shape)
        if self.positions is not None:
            self.positions.check_width(self.key_dim)
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
            values: `(B, S, D)`.
            keys: `(B, S, K)`; `values` by default.
            mask: Bool `(B, S)`, True means attend.
            positions: Positions of the keys, int `(S,)` or `(B, S)`; 0, 1, 2, ... by default.

        Returns:
            A `Memory` with keys and values in heads, `(B, G, S, head size)`.

        Raises:
            ValueError: If keys or mask do not have the batch size and length of `values`, or the
                layer is not built.
        """
        check_values(values, keys, mask)
        check_built(self)
        values = ops.cast(values, self.compute_dtype)
        keys = values if keys is None else ops.cast(keys, self.compute_dtype)
        positions = as_positions(positions, ops.shape(values)[1])
        keys, values = self._project_key_value(keys, values, positions)
        return Memory(values, keys, None if mask is None else ops.cast(mask, "bool"), positions)

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
            query: `(B, T, Q)`.
            memory: From `memory`.
            mask: Bool `(B, T, S)` or `(B, 1, S)`, or an `AttentionMask`; combined with the
                memory's mask.
            state: Not used; multi-head attention has no state.
            positions: Positions of the queries, an int scalar, `(T,)` or `(B, T)`; 0, 1, 2, ... by
                default.
            return_weights: Whether to return the attention weights.
            training: Whether to apply dropout.

        Returns:
            An `AttentionOutput`: the context after the output projection, `(B, T, output_dim)`, the
            weights `(B, H, T, S)` or `None` unless requested, and no state.

        Raises:
            ValueError: If the query or the mask does not match the memory.
        """
        check_query(query, memory.values, None)
        positions = as_positions(positions, ops.shape(query)[1])
        query = self._prepare_query(ops.cast(query, self.compute_dtype), positions)
        return self._attend(
            query, memory, positions, mask=mask, return_weights=return_weights, training=training
        )

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

    def _prepare_query(self, query, positions):
        """Projects the query into heads and encodes its positions, (B, T, Q) -> (B, H, T, D)."""
        query = heads.split_heads(self.query_dense(query), self.num_heads)
        return self._encode_query(query, positions)

    def _project_key_value(self, keys, values, positions):
        """Projects keys and values into heads and encodes positions in the keys, (B, G, S, D)."""
        keys = heads.split_heads(self.key_dense(keys), self.num_key_value_heads)
        values = heads.split_heads(self.value_dense(values), self.num_key_value_heads)
        return self._encode_keys(keys, positions), values

    def _encode_query(self, query, positions):
        if self.qk_norm:
            query = self.query_norm(query)
        return query if self.positions is None else self.positions.rotate(query, positions)

    def _encode_keys(self, keys, positions):
        if self.qk_norm:
            keys = self.key_norm(keys)
        return keys if self.positions is None else self.positions.rotate(keys, positions)

    def _attend(
        self,
        query,
        memory,
        positions,
        *,
        mask=None,
        position_bias=None,
        return_weights=False,
        training=False,
    ):
        """Attends with a query from `_prepare_query`, (B, H, T, D), at positions (B or 1, T)."""
        mask = as_attention_mask(mask)
        check_mask(mask.pairs, (query.shape[0], query.shape[2], memory.values.shape[2]))
        mask = mask.with_keys(memory.mask)
        if self.window is not None:
            mask = mask._replace(
                window=self.window, query_positions=positions, key_positions=memory.positions
            )
        dropout = None
        if training and self.dropout.rate:
            dropout = SeededDropout(self.dropout.rate, self.dropout.seed_generator.next())
        encodings = self._encodings(position_bias)
        options = AttentionOptions(mask, positions, dropout)

        def score(query, keys, positions):
            return self._adjust_scores(scaled_dot(query, keys), positions, encodings)

        sizes = ops.shape(query)[2], ops.shape(memory.keys)[2]
        explicit = True if return_weights else is_explicit(*sizes, self.block_size, training)
        output = weights = None
        if explicit is True:
            output, weights = explicit_attention(score, query, memory, options)
        elif self.soft_cap is None and not encodings and dropout is None:
            output = backend_attention(query, memory, mask)
        if output is None:
            variables = [variable for each in encodings for variable in each.variables]
            key = type(self), self.soft_cap, encodings
            attention = FusedAttention(score, variables, self.block_size, key)
            output = attention(query, memory, options, explicit)
        output = self.output_dense(heads.merge_heads(output))  # (B, T, output_dim)
        output = self.output_dropout(output, training=training)
        return AttentionOutput(output, weights if return_weights else None, None)

    def _encodings(self, position_bias):
        """Returns the position encodings that add a bias to the scores."""
        return tuple(each for each in (self.positions, position_bias) if has_bias(each))

    def _adjust_scores(self, scores, positions, encodings):
        """Applies soft cap and biases to scores (B, H, T, S), before mask and softmax."""
        if self.soft_cap is not None:
            scores = ops.tanh(scores / self.soft_cap) * self.soft_cap
        for encoding in encodings:
            bias = encoding.bias(*positions)
            if bias is not None:  # in float32, where biases of large distances stay distinct
                scores = at_least_float32(scores)
                scores = scores + ops.cast(bias, scores.dtype)
        return scores

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
