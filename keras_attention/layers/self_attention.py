"""Multi-head self-attention with one fused projection and a key/value cache."""

import keras
from keras import ops

from keras_attention.layers.multi_head import MultiHeadAttention
from keras_attention.layers.positions import PositionEncoding
from keras_attention.layers.validation import check_query, check_values
from keras_attention.ops import heads, masks
from keras_attention.ops.attention import AttentionOutput, Memory, masked_softmax
from keras_attention.ops.attention_mask import AttentionMask
from keras_attention.ops.beam_cache import (
    BeamCache,
    CacheStep,
    append_recent,
    cached_context,
    cached_scores,
    slot_indices,
)
from keras_attention.ops.kv_cache import (
    CachedPast,
    KVCache,
    append_to_cache,
    count_rows,
    empty_slots,
    fill_slots,
    grow_slots,
    write_slot,
)
from keras_attention.ops.positions import as_positions
from keras_attention.types import Mask, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class MultiHeadSelfAttention(MultiHeadAttention):
    """Multi-head self-attention, with a single matrix for query, key and value projections.

    The constructor has the arguments of `MultiHeadAttention`.

    Call arguments:
        x: Sequence, `(B, T, Q)`.
        mask: Bool `(B, T)`, True means attend; the Keras mask of `x` by default.
        attention_mask: Bool `(B, T, T)`, or of a shape that broadcasts to it.
        return_attention_scores: Whether to return the pair `(output, weights)`.
        training: Whether to apply dropout.
        use_causal_mask: Whether each position attends only to itself and earlier positions.

    Returns:
        The output `(B, T, output_dim)`, or the pair of it and the weights `(B, H, T, T)`.

    Example:

    >>> import numpy as np
    >>> layer = MultiHeadSelfAttention(num_heads=2, key_dim=8)
    >>> tuple(layer(np.ones((2, 3, 16), "float32"), use_causal_mask=True).shape)
    (2, 3, 16)
    """

    def build(self, x_shape):  # type: ignore[override]  # there is one input
        query_units = self.num_heads * self.key_dim
        key_units = self.num_key_value_heads * self.key_dim
        value_units = self.num_key_value_heads * self.value_dim
        self.split_indices = query_units, query_units + key_units
        units = query_units + key_units + value_units
        self.fused_dense = self.projection("query_key_value", units, x_shape, self.use_bias)
        self._build_norms_and_output(x_shape)

    def call(  # type: ignore[override]  # one sequence in place of query and value
        self,
        x: Tensor,
        mask: Mask = None,
        attention_mask: Mask = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        output, weights, _ = self.attend_to_self(
            x,
            mask=self_attention_mask(x, mask, attention_mask, use_causal_mask),
            return_weights=return_attention_scores,
            training=bool(training),
        )
        return (output, weights) if return_attention_scores else output

    def attend_to_self(
        self,
        x: Tensor,
        *,
        mask: Mask = None,
        positions: Tensor | None = None,
        position_bias: PositionEncoding | None = None,
        past: CachedPast | None = None,
        return_weights: bool = False,
        training: bool = False,
    ) -> AttentionOutput:
        """Attends from every position of a sequence to all others.

        Args:
            x: Sequence, `(B, T, Q)`.
            mask: Bool `(B, T, S)` or `(B, 1, S)`, or an `AttentionMask`; S is T, or with `past` the
                number of slots of the updated cache.
            positions: Positions of `x`, int `(T,)` or `(B, T)`; 0, 1, 2, ... by default.
            position_bias: Position encoding shared by several layers, whose bias is added to the
                layer's own.
            past: Keys and values of earlier positions, `(B, G, L, D)`. Those of `x` are written to
                its cache, and `x` attends to all slots of it that `mask` allows. `None` if `x` is
                the whole sequence.
            return_weights: Whether to return the attention weights.
            training: Whether to apply dropout.

        Returns:
            An `AttentionOutput`: the output `(B, T, output_dim)`, the weights `(B, H, T, S)` or
            `None` unless requested, and as its state the `KVCache` of the sequence, keys and values
            `(B, G, S, D)`.
        """
        positions = as_positions(positions, ops.shape(x)[1])
        query, keys, values = self._project(ops.cast(x, self.compute_dtype), positions)
        key_positions = positions
        if past is not None:
            keys, values = append_to_cache(past, KVCache(keys, values))
            key_positions = as_positions(None, ops.shape(keys)[2])
        output = self._attend(
            query,
            Memory(values, keys, None, key_positions),
            positions,
            mask=mask,
            position_bias=position_bias,
            return_weights=return_weights,
            training=training,
        )
        return output._replace(state=KVCache(keys, values))

    def init_cache(self, batch: Tensor, beams: int, length: int) -> BeamCache:
        """Returns an empty key/value cache.

        Args:
            batch: Batch size.
            beams: Number of beams.
            length: Maximum number of positions.

        Returns:
            A `BeamCache` of zeros with `length` recent slots, or `window` if that is less.
        """
        return self._empty_cache(batch, self.num_slots(length) * beams)

    def fill_cache(self, sequence: KVCache, beams: int, length: Tensor) -> BeamCache:
        """Returns a key/value cache that holds the last positions of a sequence.

        Args:
            sequence: Keys and values of T positions, `(B, G, T, D)`, from `attend_to_self`.
            beams: Number of beams, which begin with the same sequence.
            length: Maximum number of positions, at least T.

        Returns:
            A `BeamCache` with T past slots and `length - T` recent ones. With a window, all slots
            are recent, at most `window`.
        """
        batch, _, count, _ = ops.shape(sequence.keys)
        if self.window is None:
            cache = self._empty_cache(batch, (length - count) * beams)
            return cache._replace(past=fill_slots(sequence, beams))
        indices = slot_indices(count - 1, self.num_slots(length))  # (L,)
        indices = ops.maximum(indices, 0)  # what is in unused slots is masked
        last = KVCache(*(ops.take(x, indices, axis=2) for x in sequence))
        return self._empty_cache(batch, 0)._replace(recent=fill_slots(last, beams))

    def grow(self, cache: BeamCache, beams: int, length: Tensor) -> BeamCache:
        """Returns a full cache with slots for `length` positions, the new ones empty."""
        num_rows = count_rows(cache.recent)
        if self.window is None:
            return append_recent(cache, length * beams - count_rows(cache.past) - num_rows)
        if isinstance(num_rows, int) and num_rows == self.window * beams:
            return cache  # of the same static shape, which a loop may want
        return cache._replace(recent=grow_slots(cache.recent, self.num_slots(length) * beams))

    def _empty_cache(self, batch, num_rows):
        """Returns a cache of zeros without past slots."""
        shape, widths = (batch, self.num_key_value_heads), (self.key_dim, self.value_dim)
        past, recent = (empty_slots(shape, n, *widths, self.compute_dtype) for n in (0, num_rows))
        return BeamCache(past, recent)

    def num_slots(self, length: Tensor) -> Tensor:
        """Returns L, the number of slots of a cache for `length` positions: `window` at most."""
        if self.window is None:
            return length
        if isinstance(length, int):
            return min(length, self.window)
        return ops.minimum(length, self.window)

    def attend_to_cache(
        self,
        x: Tensor,
        cache: BeamCache,
        step: CacheStep,
        *,
        position_bias: PositionEncoding | None = None,
        return_weights: bool = False,
    ) -> AttentionOutput:
        """Attends from one new position of each beam to the earlier ones in the cache.

        Args:
            x: New position of each beam, `(B, K, Q)`.
            cache: From `init_cache`, `fill_cache` or the previous step, with S slots.
            step: Slot, positions and mask of the step, from `ops.beam_cache.cache_step`.
            position_bias: See `attend_to_self`.
            return_weights: Whether to return the attention weights.

        Returns:
            An `AttentionOutput`: the output `(B, K, output_dim)`, the weights `(B, H, K, S)` or
            `None` unless requested, and as its state the updated cache.
        """
        query, keys, values = self._project(ops.cast(x, self.compute_dtype), step.positions)
        cache = cache._replace(recent=write_slot(cache.recent, KVCache(keys, values), step.slot))
        scores = self._adjust_scores(
            cached_scores(query, cache),
            (step.positions, step.key_positions),
            self._encodings(position_bias),
        )
        weights = masked_softmax(scores, ops.expand_dims(step.mask, 1))  # (B, H, K, S * K)
        weights = ops.cast(weights, values.dtype)
        output = cached_context(weights, cache)  # (B, H, K, D)
        output = self.output_dense(heads.merge_heads(output))  # (B, K, output_dim)
        if return_weights:
            batch, num_heads, beams, _ = ops.shape(weights)
            weights = ops.reshape(weights, (batch, num_heads, beams, -1, beams))
            weights = ops.sum(weights, axis=-1)  # each slot has weight in one beam at most
        return AttentionOutput(output, weights if return_weights else None, cache)

    def _project(self, x, positions):
        """Projects a sequence once: query (B, H, T, D), keys and values (B, G, T, D)."""
        query, keys, values = ops.split(self.fused_dense(x), self.split_indices, axis=-1)
        return (
            self._encode_query(heads.split_heads(query, self.num_heads), positions),
            self._encode_keys(heads.split_heads(keys, self.num_key_value_heads), positions),
            heads.split_heads(values, self.num_key_value_heads),
        )

    def _prepare_query(self, query, positions):
        return self._project(query, positions)[0]

    def _project_key_value(self, keys, values, positions):
        _, projected_keys, projected_values = self._project(keys, positions)
        if values is not keys:
            projected_values = self._project(values, positions)[2]
        return projected_keys, projected_values

    def compute_output_shape(self, x_shape, value_shape=None, key_shape=None):
        return super().compute_output_shape(x_shape, x_shape)

    def compute_output_spec(  # type: ignore[override]
        self, x, mask=None, attention_mask=None, **options
    ):
        return super().compute_output_spec(
            x, x, value_mask=mask, attention_mask=attention_mask, **options
        )


def self_attention_mask(
    x: Tensor, mask: Mask, attention_mask: Mask, use_causal_mask: bool = False
) -> AttentionMask:
    """Combines the masks of self-attention.

    Args:
        x: Sequence, `(B, T, Q)`.
        mask: Bool `(B, T)`; the Keras mask of `x` by default.
        attention_mask: Bool `(B, T, T)`, or of a shape that broadcasts to it.
        use_causal_mask: Whether to mask later positions.

    Returns:
        The mask in parts, see `ops.attention_mask`.

    Raises:
        ValueError: If the shapes do not match.
    """
    check_values(x, None, mask)
    check_query(x, x, attention_mask, "attention_mask")
    if mask is None:  # Keras passes the mask only if `x` is the single tensor of the call
        mask = getattr(x, "_keras_mask", None)
    return AttentionMask(
        keys=mask, pairs=masks.expand_to_3d(attention_mask), causal=use_causal_mask
    )
