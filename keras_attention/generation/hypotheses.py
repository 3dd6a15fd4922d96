"""Tensors of hypotheses, (batch, beams, ...): written, enlarged and reordered."""

from typing import Any

from keras import ops, tree

from keras_attention.ops.beam_cache import BeamCache
from keras_attention.ops.growing_loop import grow_axis
from keras_attention.types import Tensor


def write_position(buffer: Tensor, position: Tensor, values: Tensor) -> Tensor:
    """Sets one position of the third axis: (B, K, L, ...) from (B, K, ...)."""
    start = (0, 0, position, *[0] * (len(buffer.shape) - 3))
    return ops.slice_update(buffer, start, ops.cast(ops.expand_dims(values, 2), buffer.dtype))


def grow_buffers(hypotheses: dict, length: Tensor) -> dict:
    """Enlarges the buffers of hypotheses, `ids` and `attention`, to a number of tokens."""

    def grow(name, x):
        if isinstance(x, dict):
            return grow_buffers(x, length)
        return grow_axis(x, 2, length) if name in ("ids", "attention") else x  # PAD is 0

    return {name: grow(name, x) for name, x in hypotheses.items()}


def gather_beams(x: Tensor, beams: Tensor) -> Tensor:
    """Reorders the second axis of (B, K, ...) by `beams` (B, N), with one gather."""
    batch, num_beams = ops.shape(x)[:2]
    offset = ops.expand_dims(ops.arange(batch, dtype="int32") * num_beams, -1)  # (B, 1)
    merged = ops.reshape(x, (batch * num_beams, *ops.shape(x)[2:]))  # (B * K, ...)
    return ops.take(merged, beams + offset, axis=0)  # (B, N, ...)


def reorder_beams(state: Any, parents: Tensor) -> Any:
    """Reorders the state of a decoder by the beams that new beams extend, (batch, beams).

    A `BeamCache` stays as it is. The `beams` of its `CacheState` are reordered in its place.
    """

    def reorder(x):
        if isinstance(x, BeamCache):
            return x
        return None if tree.is_nested(x) else gather_beams(x, parents)

    return tree.traverse(reorder, state)
