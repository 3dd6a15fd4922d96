"""Masks of blocks of queries and keys, and the blocks that need no mask or no computation.

An `AttentionMask` is split once into blocks of its parts. From them come the mask of one block of
queries and one of keys, and two tables of all pairs of blocks: those in which some query may attend
to some key, and those in which every query attends to every key.
"""

from typing import NamedTuple

from keras import ops

from keras_attention.ops import masks
from keras_attention.ops.attention_mask import AttentionMask
from keras_attention.types import Tensor


class Blocks(NamedTuple):
    """Division of a sequence into blocks of equal size; the last one is padded.

    Attributes:
        length: number of items.
        count: number of blocks, at least 1.
        size: items per block.
    """

    length: Tensor
    count: Tensor
    size: Tensor

    @classmethod
    def of(cls, length: Tensor, max_size: int) -> "Blocks":
        """Divides `length` items into the fewest blocks of at most `max_size` items."""
        if isinstance(length, int):
            count = max(1, -(-length // max_size))
        else:
            count = ops.maximum(1, (length + max_size - 1) // max_size)
        return cls(length, count, (length + count - 1) // count)

    @property
    def padding(self) -> Tensor:
        """Number of padded items."""
        return self.count * self.size - self.length

    def split(self, x: Tensor, axis: int, fill_value: float = 0) -> Tensor:
        """Splits an axis of `length` items into blocks: (..., T, ...) -> (count, ..., size, ...).

        The padding is `fill_value`.
        """
        axis = axis % len(x.shape)
        shape = list(ops.shape(x))
        if not (isinstance(self.padding, int) and self.padding == 0):
            padding = (*shape[:axis], self.padding, *shape[axis + 1 :])
            x = ops.concatenate([x, ops.full(padding, fill_value, x.dtype)], axis)
        x = ops.reshape(x, (*shape[:axis], self.count, self.size, *shape[axis + 1 :]))
        return ops.transpose(x, (axis, *(a for a in range(len(shape) + 1) if a != axis)))

    def merge(self, x: Tensor, axis: int) -> Tensor:
        """Merges blocks: (count, ..., size, ...) -> (..., T, ...); `axis` is that of the result."""
        rank = len(x.shape) - 1
        axis = axis % rank
        others = [a for a in range(1, rank + 1)]
        others.insert(axis, 0)
        x = ops.transpose(x, others)  # (..., count, size, ...)
        shape = list(ops.shape(x))
        x = ops.reshape(x, (*shape[:axis], self.count * self.size, *shape[axis + 2 :]))
        return x[(slice(None),) * axis + (slice(0, self.length),)]


class BlockMask:
    """Mask of one block of queries and one of keys at a time.

    Args:
        mask: mask of all queries and keys.
        queries: the blocks of the queries.
        keys: the blocks of the keys.
    """

    def __init__(self, mask: AttentionMask, queries: Blocks, keys: Blocks):
        self.causal, self.window = mask.causal, mask.window
        self.queries, self.keys = queries, keys
        parts = {
            "queries": _split(mask.queries, queries),
            "keys": _split(mask.keys, keys),
            "query_positions": _split(mask.query_positions, queries),
            "key_positions": _split(mask.key_positions, keys),
            "query_segments": _split(mask.query_segments, queries),
            "key_segments": _split(mask.key_segments, keys),
            "pairs": self._split_pairs(mask.pairs),
        }
        self.tensors = {name: x for name, x in parts.items() if x is not None}

    def _split_pairs(self, pairs):
        """(B, T or 1, S) -> (count or 1, count, B, size or 1, size)."""
        if pairs is None:
            return None
        pairs = ops.cast(pairs, "bool")
        if pairs.shape[2] == 1 and self.keys.length != 1:
            pairs = ops.repeat(pairs, self.keys.length, axis=2)
        if pairs.shape[1] == 1:
            return ops.expand_dims(self.keys.split(pairs, 2), 0)
        return ops.transpose(self.keys.split(self.queries.split(pairs, 1), 3), (1, 0, 2, 3, 4))

    def block(self, i: Tensor, j: Tensor) -> Tensor:
        """Returns the mask of block i of the queries and block j of the keys, (B or 1, bq, bk)."""
        tensors = self.tensors

        def part(name, index):
            return None if name not in tensors else ops.take(tensors[name], index, axis=0)

        query_indices = ops.expand_dims(_indices(self.queries, i), 1)  # (bq, 1)
        key_indices = ops.expand_dims(_indices(self.keys, j), 0)  # (1, bk)
        mask = ops.expand_dims(key_indices < self.keys.length, 0)  # (1, 1, bk)
        if self.causal:
            mask = masks.combine_masks(mask, ops.expand_dims(key_indices <= query_indices, 0))
        if "pairs" in tensors:
            row = 0 if tensors["pairs"].shape[0] == 1 else i
            pairs = ops.take(ops.take(tensors["pairs"], row, axis=0), j, axis=0)
            mask = masks.combine_masks(mask, pairs)
        if self.window is not None:
            positions = part("query_positions", i), part("key_positions", j)
            mask = masks.combine_masks(mask, masks.sliding_window_mask(*positions, self.window))
        if "query_segments" in tensors:
            segments = part("query_segments", i), part("key_segments", j)
            mask = masks.combine_masks(mask, masks.segment_mask(*segments))
        return masks.combine_masks(
            mask,
            masks.expand_query_mask(part("queries", i)),
            masks.expand_key_mask(part("keys", j)),
        )

    def tables(self) -> tuple[Tensor, Tensor]:
        """Returns which pairs of blocks have anything to compute, and which need no mask.

        Returns:
            `(some, every)`: bool (query blocks, key blocks), `some` False where the whole block is
            masked, `every` True where nothing in it is.
        """
        queries, keys, tensors = self.queries, self.keys, self.tensors
        query_start = ops.expand_dims(ops.arange(queries.count, dtype="int32") * queries.size, 1)
        key_start = ops.expand_dims(ops.arange(keys.count, dtype="int32") * keys.size, 0)
        some = ops.logical_and(query_start < queries.length, key_start < keys.length)
        every = ops.logical_and(some, key_start + keys.size <= keys.length)
        if self.causal:
            some = ops.logical_and(some, key_start <= query_start + queries.size - 1)
            every = ops.logical_and(every, key_start + keys.size - 1 <= query_start)
        for name, axis in (("queries", 1), ("keys", 0)):
            if name in tensors:
                some = ops.logical_and(some, ops.expand_dims(_any(tensors[name], 1), axis))
                every = ops.logical_and(every, ops.expand_dims(_all(tensors[name], 1), axis))
        if "pairs" in tensors:
            some = ops.logical_and(some, _any(tensors["pairs"], 2))
            every = ops.logical_and(every, _all(tensors["pairs"], 2))
        if self.window is not None:
            low, high = self._distances("query_positions", "key_positions")
            some = ops.logical_and(some, ops.logical_and(low < self.window, high > -self.window))
            inside = ops.logical_and(low > -self.window, high < self.window)
            every = ops.logical_and(every, inside)
        if "query_segments" in tensors:
            low, high = self._distances("query_segments", "key_segments")
            some = ops.logical_and(some, ops.logical_and(low <= 0, high >= 0))
            every = ops.logical_and(every, ops.logical_and(low == 0, high == 0))
        return some, every

    def _distances(self, query_name, key_name):
        """Returns the least and the greatest difference of numbers of keys and of queries."""
        query_low, query_high = self._ranges(self.tensors[query_name], self.queries)
        key_low, key_high = self._ranges(self.tensors[key_name], self.keys)
        low = ops.expand_dims(key_low, 0) - ops.expand_dims(query_high, 1)
        high = ops.expand_dims(key_high, 0) - ops.expand_dims(query_low, 1)
        return low, high

    def _ranges(self, numbers, blocks):
        """Returns the least and greatest number of each block, without padding, (count,) each."""
        indices = ops.reshape(
            ops.arange(blocks.count * blocks.size, dtype="int32"), (blocks.count, 1, blocks.size)
        )
        inside = indices < blocks.length
        low = ops.min(ops.where(inside, numbers, 2**30), axis=(1, 2), initial=2**30)
        high = ops.max(ops.where(inside, numbers, -(2**30)), axis=(1, 2), initial=-(2**30))
        return low, high


def _split(x, blocks):
    return None if x is None else blocks.split(ops.convert_to_tensor(x), 1)


def _indices(blocks, index):
    return index * blocks.size + ops.arange(blocks.size, dtype="int32")


def _any(x, first_axis):
    return ops.any(x, axis=tuple(range(first_axis, len(x.shape))))


def _all(x, first_axis):
    return ops.all(x, axis=tuple(range(first_axis, len(x.shape))))
