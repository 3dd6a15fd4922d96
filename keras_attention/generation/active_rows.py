"""Rows of a batch that are still being generated, without those that have ended.

Between two stages of the decoding loop, rows whose hypotheses have all ended leave the batch, so
that the cost of a step depends on the rows that need it.
"""

from typing import Any, NamedTuple

from keras import ops, tree

from keras_attention.generation.hypotheses import grow_buffers
from keras_attention.ops.loop import needs_static_shapes
from keras_attention.types import Tensor


class ActiveRows(NamedTuple):
    """A of the B rows of a batch, and the outputs of all rows that have ended.

    Attributes:
        constants: list of the tensors that all steps read, (A, ...) each.
        indices: int32 (B,), the index of each row among the A; -1 for rows that have left.
        outputs: outputs of rows that have left, by name, (B, ...) each; other rows are not read.
    """

    constants: list[Tensor]
    indices: Tensor
    outputs: dict[str, Tensor]


def drop_ended_rows(
    rows: ActiveRows, is_active: Tensor, outputs: dict[str, Tensor], carry: Any
) -> tuple[ActiveRows, Any]:
    """Removes the rows that have ended, if any, and stores their outputs.

    XLA needs a static number of rows, so there all of them stay.

    Args:
        rows: A of B rows.
        is_active: bool (A,), false for the rows that have ended.
        outputs: outputs of the rows, by name, (A, ...) each.
        carry: nested tensors (A, ...).

    Returns:
        The rows that stay, and their carry.

    Example:

    >>> from keras import ops
    >>> outputs = {"ids": ops.array([[[4]], [[2]], [[6]]])}
    >>> rows = ActiveRows([ops.array([7, 8, 9])], ops.arange(3), outputs)
    >>> is_active = ops.array([True, False, True])
    >>> rows, carry = drop_ended_rows(rows, is_active, outputs, ops.array([10, 20, 30]))
    >>> [ops.convert_to_numpy(x).tolist() for x in (rows.constants[0], rows.indices, carry)]
    [[7, 9], [0, -1, 1], [10, 30]]
    """
    if needs_static_shapes() or is_active.shape[0] == 1:
        return rows, carry

    def without_ended():
        active = ops.arange(ops.size(is_active), dtype="int32")[is_active]  # (rows that stay,)
        constants, active_carry = tree.map_structure(
            lambda x: ops.take(x, active, axis=0), (rows.constants, carry)
        )
        is_in = ops.take(is_active, ops.maximum(rows.indices, 0)) & (rows.indices >= 0)  # (B,)
        return (
            constants,
            ops.where(is_in, ops.cumsum(ops.cast(is_in, "int32")) - 1, -1),
            merge_outputs(rows, outputs),
            active_carry,
        )

    *rows, carry = ops.cond(ops.all(is_active), lambda: (*rows, carry), without_ended)
    return ActiveRows(*rows), carry


def merge_outputs(rows: ActiveRows, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the outputs of all rows of the batch.

    Args:
        rows: A of B rows.
        outputs: outputs of the rows, by name, (A, ...) each.

    Returns:
        The outputs by name, (B, ...) each.

    Example:

    >>> from keras import ops
    >>> rows = ActiveRows([], ops.array([0, -1, 1]), {"ids": ops.array([[[4]], [[2]], [[6]]])})
    >>> outputs = merge_outputs(rows, {"ids": ops.array([[[4, 5]], [[6, 7]]])})
    >>> ops.convert_to_numpy(outputs["ids"]).tolist()
    [[[4, 5]], [[2, 0]], [[6, 7]]]
    """
    earlier = grow_buffers(rows.outputs, ops.shape(outputs["ids"])[2])

    def merge(earlier, active):
        is_active = ops.reshape(rows.indices >= 0, (-1, *[1] * (len(active.shape) - 1)))
        return ops.where(is_active, ops.take(active, ops.maximum(rows.indices, 0), axis=0), earlier)

    return {name: merge(earlier[name], active) for name, active in outputs.items()}


def tensors_of_rows(structure: Any, batch: int | None) -> list[Tensor]:
    """Returns the tensors (B, ...) of nested tensors, without those that all rows share.

    Args:
        structure: nested tensors, or `None`.
        batch: B, `None` if it is not known while tracing.

    Example:

    >>> from keras import ops
    >>> structure = {"mask": None, "memory": ops.ones((3, 2)), "positions": ops.zeros((1, 2))}
    >>> [tuple(x.shape) for x in tensors_of_rows(structure, batch=3)]
    [(3, 2)]
    """
    return [x for x in tree.flatten(structure) if _is_of_rows(x, batch)]


def replace_tensors_of_rows(structure: Any, batch: int | None, tensors: list[Tensor]) -> Any:
    """Returns nested tensors with others in place of those that `tensors_of_rows` returns.

    Example:

    >>> from keras import ops
    >>> structure = {"memory": ops.ones((3, 2)), "positions": ops.zeros((1, 2))}
    >>> replaced = replace_tensors_of_rows(structure, batch=3, tensors=[ops.ones((2, 2))])
    >>> tuple(replaced["memory"].shape), tuple(replaced["positions"].shape)
    ((2, 2), (1, 2))
    """
    others = iter(tensors)
    leaves = [next(others) if _is_of_rows(x, batch) else x for x in tree.flatten(structure)]
    return tree.pack_sequence_as(structure, leaves)


def _is_of_rows(x, batch):
    return x is not None and len(x.shape) > 0 and x.shape[0] in (None, batch)
