"""Blockwise attention: softmax(scores) values in memory that grows linearly with the length.

Queries and keys are divided into blocks. Scores exist for one block of each at a time, and the
softmax over all keys is accumulated as its blocks are computed (Rabe and Staats 2021,
https://arxiv.org/abs/2112.05682; Dao et al. 2022, https://arxiv.org/abs/2205.14135). The gradient
computes the scores again, from the logarithm of each softmax's denominator.
"""

from collections.abc import Callable, Sequence

from keras import ops

from keras_attention.ops.attention import AttentionOptions, Memory
from keras_attention.ops.autodiff import value_and_vjp
from keras_attention.ops.block_mask import BlockMask, Blocks
from keras_attention.ops.buffer import make_buffer
from keras_attention.ops.dtypes import at_least_float32
from keras_attention.ops.linear import grouped_matmul, grouped_outer
from keras_attention.ops.loop import repeat
from keras_attention.types import Tensor

# Queries, and keys, of a block; docs/performance.md has the time with other sizes.
BLOCK_SIZE = 512
# Scores of the additive form have an axis of units, too.
ADDITIVE_BLOCK_SIZE = 128

# A masked score is below the first maximum, so that its exponential is 0 even in a row in which
# everything is masked.
MASKED_SCORE = -1e30
FIRST_MAXIMUM = -1e20


class BlockwiseAttention:
    """Context of queries, and its gradient, in blocks.

    Args:
        score: function of `(query, keys, positions, *parameters)`, of one block of each, that
            returns scores (B, bq, bk) or (B, H, bq, bk); `positions` are those of the queries and
            the keys, or `None`.
        query: (B, T, U) or (B, H, T, U).
        memory: keys (B, S, U) or (B, G, S, U), where G divides H, values (B, S, D) or (B, G, S, D),
            and with positions those of the keys. Its mask is not read.
        parameters: tensors that `score` reads.
        options: mask, positions and dropout; the mask of dropout is drawn block by block.
        block_size: maximum number of queries, and of keys, in a block.
    """

    def __init__(
        self,
        score: Callable[..., Tensor],
        query: Tensor,
        memory: Memory,
        parameters: Sequence[Tensor],
        options: AttentionOptions,
        block_size: int = BLOCK_SIZE,
    ):
        keys, values = memory.keys, memory.values
        self.score = score
        self.sources = query, keys, values
        self.parameters = parameters
        self.dropout = options.dropout
        self.query_blocks = Blocks.of(ops.shape(query)[-2], block_size)
        self.key_blocks = Blocks.of(ops.shape(keys)[-2], block_size)
        self.query = self.query_blocks.split(query, -2)  # (query blocks, ..., bq, U)
        self.keys = self.key_blocks.split(keys, -2)  # (key blocks, ..., bk, U)
        self.values = self.key_blocks.split(values, -2)  # (key blocks, ..., bk, D)
        self.positions = None
        if options.positions is not None:
            self.positions = (
                self.query_blocks.split(options.positions, 1),
                self.key_blocks.split(memory.positions, 1),
            )
        self.mask = BlockMask(options.mask, self.query_blocks, self.key_blocks)
        some, self.is_unmasked = self.mask.tables()  # (query blocks, key blocks)
        number = ops.arange(ops.shape(some)[1], dtype="int32")
        # the first block of keys of each block of queries, and the one after the last
        self.first = ops.min(ops.where(some, number, ops.shape(some)[1]), axis=1)
        self.last = ops.max(ops.where(some, number + 1, 0), axis=1)

    def context(self) -> tuple[Tensor, Tensor]:
        """Computes the context.

        Returns:
            `(context, log_sums)`: (B, T, D) or (B, H, T, D) in the dtype of the values, and the
            logarithms of the softmax's denominators, (B, T, 1) or (B, H, T, 1).
        """
        query, keys, values = self.query, self.keys, self.values
        dtype = at_least_float32(values).dtype

        def all_keys_of(i, contexts, log_sums):
            query_i = ops.take(query, i, axis=0)  # (B, H, bq, U)

            def one_block(j, maximum, total, context):
                keys_j = ops.take(keys, j, axis=0)
                scores = self._scores(query_i, keys_j, i, j, self.parameters)
                scores = self._masked(scores, i, j)
                new_maximum = ops.maximum(maximum, ops.max(scores, axis=-1, keepdims=True))
                exponentials = ops.exp(scores - new_maximum)  # (B, H, bq, bk)
                decay = ops.exp(maximum - new_maximum)
                total = total * decay + ops.sum(exponentials, axis=-1, keepdims=True)
                weights = self._dropped(exponentials, i, j)
                values_j = ops.take(values, j, axis=0)
                block = grouped_matmul(ops.cast(weights, values.dtype), values_j)
                context = context * decay + ops.cast(block, dtype)  # (B, H, bq, D)
                return new_maximum, total, context

            rows = ops.shape(query_i)[:-1]
            maximum = ops.full((*rows, 1), FIRST_MAXIMUM, dtype)
            total, context = (
                ops.zeros((*rows, 1), dtype),
                ops.zeros((*rows, values.shape[-1]), dtype),
            )
            first, last = ops.take(self.first, i), ops.take(self.last, i)
            maximum, total, context = repeat(first, last, one_block, (maximum, total, context))
            total = ops.where(ops.equal(total, 0), ops.ones_like(total), total)
            contexts = context_buffer.add_at(contexts, i, ops.cast(context / total, values.dtype))
            return contexts, log_sum_buffer.add_at(log_sums, i, maximum + ops.log(total))

        rows = ops.shape(query)[:-1]
        context_buffer = make_buffer((*rows, values.shape[-1]), values.dtype)
        log_sum_buffer = make_buffer((*rows, 1), dtype)
        carry = context_buffer.zeros(), log_sum_buffer.zeros()
        contexts, log_sums = repeat(0, rows[0], all_keys_of, carry)
        return (
            self.query_blocks.merge(context_buffer.to_tensor(contexts), -2),
            self.query_blocks.merge(log_sum_buffer.to_tensor(log_sums), -2),
        )

    def gradients(self, context: Tensor, log_sums: Tensor, gradient: Tensor) -> list[Tensor]:
        """Computes the gradients of queries, keys, values and parameters.

        Args:
            context: from `context`.
            log_sums: from `context`.
            gradient: gradient of the context.

        Returns:
            The gradients, each in the shape and dtype of its tensor.
        """
        query, keys, values = self.query, self.keys, self.values
        dtype = at_least_float32(values).dtype
        # sum_j p_j (dL/dp_j), the same for all keys
        means = ops.cast(gradient, dtype) * ops.cast(context, dtype)
        means = self.query_blocks.split(ops.sum(means, axis=-1, keepdims=True), -2)
        log_sums = self.query_blocks.split(log_sums, -2, fill_value=-FIRST_MAXIMUM)  # weights are 0
        gradient = self.query_blocks.split(gradient, -2)

        def all_keys_of(i, query_gradient, keys_gradient, values_gradient, *parameter_gradients):
            query_i, context_gradient = ops.take(query, i, axis=0), ops.take(gradient, i, axis=0)
            log_sum, mean = ops.take(log_sums, i, axis=0), ops.take(means, i, axis=0)

            def one_block(
                j, query_i_gradient, keys_gradient, values_gradient, *parameter_gradients
            ):
                keys_j, values_j = ops.take(keys, j, axis=0), ops.take(values, j, axis=0)
                scores, vjp = value_and_vjp(
                    lambda query_i, keys_j, *parameters: self._scores(
                        query_i, keys_j, i, j, parameters
                    ),
                    [query_i, keys_j, *self.parameters],
                )
                weights = ops.exp(self._masked(scores, i, j) - log_sum)
                dropped = ops.cast(self._dropped(weights, i, j), values.dtype)
                values_j_gradient = grouped_outer(dropped, context_gradient, values_j.shape[1])
                weights_gradient = grouped_matmul(context_gradient, _transposed(values_j))
                weights_gradient = self._dropped(ops.cast(weights_gradient, dtype), i, j)
                scores_gradient = weights * (weights_gradient - mean)  # (B, H, bq, bk)
                query_part, keys_part, *parameter_parts = vjp(scores_gradient)
                return (
                    query_i_gradient + ops.cast(query_part, dtype),
                    keys_buffer.add_at(keys_gradient, j, ops.cast(keys_part, dtype)),
                    values_buffer.add_at(values_gradient, j, ops.cast(values_j_gradient, dtype)),
                    *(
                        total if part is None else total + ops.cast(part, total.dtype)
                        for total, part in zip(parameter_gradients, parameter_parts, strict=True)
                    ),
                )

            query_i_gradient, *others = repeat(
                ops.take(self.first, i),
                ops.take(self.last, i),
                one_block,
                (
                    ops.zeros(ops.shape(query_i), dtype),
                    keys_gradient,
                    values_gradient,
                    *parameter_gradients,
                ),
            )
            query_i_gradient = ops.cast(query_i_gradient, query.dtype)
            return query_buffer.add_at(query_gradient, i, query_i_gradient), *others

        query_buffer = make_buffer(ops.shape(query), query.dtype)
        keys_buffer = make_buffer(ops.shape(keys), dtype)
        values_buffer = make_buffer(ops.shape(values), dtype)
        carry = (
            query_buffer.zeros(),
            keys_buffer.zeros(),
            values_buffer.zeros(),
            *(ops.zeros(ops.shape(x), at_least_float32(x).dtype) for x in self.parameters),
        )
        query_gradient, *others = repeat(0, ops.shape(query)[0], all_keys_of, carry)
        keys_gradient, values_gradient, *parameter_gradients = others
        merged = (
            self.query_blocks.merge(query_buffer.to_tensor(query_gradient), -2),
            self.key_blocks.merge(keys_buffer.to_tensor(keys_gradient), -2),
            self.key_blocks.merge(values_buffer.to_tensor(values_gradient), -2),
            *parameter_gradients,
        )
        sources = (*self.sources, *self.parameters)
        return [ops.cast(g, x.dtype) for g, x in zip(merged, sources, strict=True)]

    def _scores(self, query_i, keys_j, i, j, parameters):
        positions = None
        if self.positions is not None:
            query_positions, key_positions = self.positions
            positions = ops.take(query_positions, i, axis=0), ops.take(key_positions, j, axis=0)
        return at_least_float32(self.score(query_i, keys_j, positions, *parameters))

    def _masked(self, scores, i, j):
        def masked():
            mask = self.mask.block(i, j)  # (B or 1, bq, bk)
            mask = ops.expand_dims(mask, 1) if len(scores.shape) == 4 else mask
            return ops.where(mask, scores, ops.cast(MASKED_SCORE, scores.dtype))

        return ops.cond(self.is_unmasked[i, j], lambda: scores, masked)

    def _dropped(self, weights, i, j):
        """Applies dropout; its mask depends on the seed and the numbers of the two blocks."""
        return weights if self.dropout is None else self.dropout.apply(weights, (i, j))


def _transposed(x):
    rank = len(x.shape)
    return ops.transpose(x, (*range(rank - 2), rank - 1, rank - 2))
