"""Attention masks stored as parts, from which a block of the mask is made without the whole."""

from typing import NamedTuple

from keras_attention.ops import masks
from keras_attention.types import Mask, Tensor


class AttentionMask(NamedTuple):
    """Attention mask stored as its parts; the mask is their logical AND, and `None` masks nothing.

    The mask of a sequence of T items has T^2 elements. Its parts other than `pairs` have at most T.
    `dense` returns the mask of all queries and keys; `ops.blockwise` makes it block by block.

    Attributes:
        queries: bool (B, T).
        keys: bool (B, S), True means attend.
        causal: whether query t attends to keys up to t only.
        pairs: bool (B or 1, T or 1, S or 1), any other mask.
        window: distance in positions from which on keys are masked, see
            `masks.sliding_window_mask`.
        query_positions: int (B or 1, T), with a window.
        key_positions: int (B or 1, S), with a window.
        query_segments: int (B, T); a query attends to keys of its own segment only.
        key_segments: int (B, S), with `query_segments`.

    Example:

    >>> from keras import ops
    >>> mask = AttentionMask(keys=ops.array([[False, True, True]]), causal=True)
    >>> ops.convert_to_numpy(mask.dense(2, 3)).tolist()
    [[[False, False, False], [False, True, False]]]
    """

    queries: Mask = None
    keys: Mask = None
    causal: bool = False
    pairs: Mask = None
    window: int | None = None
    query_positions: Tensor | None = None
    key_positions: Tensor | None = None
    query_segments: Tensor | None = None
    key_segments: Tensor | None = None

    def dense(self, num_queries: Tensor, num_keys: Tensor) -> Mask:
        """Returns the mask of all pairs.

        Args:
            num_queries: T, an int or an int32 scalar tensor.
            num_keys: S, an int or an int32 scalar tensor.

        Returns:
            Bool tensor that broadcasts to (B, T, S), or `None` without any part.
        """
        return masks.combine_masks(
            masks.expand_key_mask(self.keys),
            masks.expand_query_mask(self.queries),
            self.pairs,
            masks.causal_mask(num_queries, num_keys) if self.causal else None,
            None
            if self.window is None
            else masks.sliding_window_mask(self.query_positions, self.key_positions, self.window),
            None
            if self.query_segments is None
            else masks.segment_mask(self.query_segments, self.key_segments),
        )

    def with_keys(self, keys: Mask) -> "AttentionMask":
        """Returns the mask combined with a mask of the keys, (B, S)."""
        return self._replace(keys=masks.combine_masks(self.keys, keys))


def as_attention_mask(mask: "Mask | AttentionMask") -> AttentionMask:
    """Returns a mask of pairs, bool (B or 1, T or 1, S), as an `AttentionMask`.

    Args:
        mask: bool tensor, `None`, or an `AttentionMask`, which is returned.

    Example:

    >>> as_attention_mask(None) == AttentionMask()
    True
    """
    return mask if isinstance(mask, AttentionMask) else AttentionMask(pairs=mask)
