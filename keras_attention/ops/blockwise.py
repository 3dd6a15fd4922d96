"""Blockwise attention: softmax(scores) values in memory that grows linearly with the length.

Queries and keys are divided into blocks. Scores exist for one block of each at a time, and the
softmax over all keys is accumulated as its blocks are computed (Rabe and Staats 2021,
https://arxiv.org/abs/2112.05682; Dao et al. 2022, https://arxiv.org/abs/2205.14135). The gradient
computes the scores again, from the logarithm of each softmax's denominator.
"""

from collections.abc import Callable, Sequence

import keras
from keras import ops, tree

from keras_attention.ops.attention import Memory
from keras_attention.ops.attention_mask import AttentionMask
from keras_attention.ops.autodiff import call_with_gradient, value_and_vjp
from keras_attention.ops.block_mask import BlockMask, Blocks
from keras_attention.ops.dtypes import at_least_float32
from keras_attention.ops.linear import grouped_matmul, grouped_outer
from keras_attention.ops.loop import add_at, repeat
from keras_attention.ops.noise import SeededDropout
from keras_attention.types import Tensor

# Queries, and keys, of a block. Other sizes have not been measured on a quiet machine.
BLOCK_SIZE = 512
# Scores of the additive form have an axis of units, too.
ADDITIVE_BLOCK_SIZE = 128

# A masked score is below the first maximum, so that its exponential is 0 even in a row in which
# everything is masked.
MASKED_SCORE = -1e30
FIRST_MAXIMUM = -1e20


def blockwise_attention(
    score: Callable[..., Tensor],
    query: Tensor,
    memory: Memory,
    mask: AttentionMask,
    *,
    positions: Tensor | None = None,
    variables: Sequence[keras.Variable] = (),
    block_size: int = BLOCK_SIZE,
    dropout: SeededDropout | None = None,
) -> Tensor:
    """Computes the context of every query, `softmax(mask(score(query, keys))) values`.

    Args:
        score: function of `(query, keys, positions)`, of one block of each, that returns scores
            (B, bq, bk) or (B, H, bq, bk); `positions` are those of the queries and the keys, or
            `None`.
        query: (B, T, U) or (B, H, T, U).
        memory: keys (B, S, U) or (B, G, S, U), where G divides H, values (B, S, D) or (B, G, S, D),
            and with `positions` those of the keys. Its mask is not read.
        mask: keys that each query attends to; a query without any has context 0.
        positions: int (B or 1, T), positions of the queries, if `score` reads positions.
        variables: variables that `score` reads.
        block_size: maximum number of queries, and of keys, in a block.
        dropout: dropout of the attention weights; its masks are drawn again for the gradient.

    Returns:
        (B, T, D) or (B, H, T, D), in the dtype of `values`.
    """
    keys, values = memory.keys, memory.values
    query_blocks = Blocks.of(ops.shape(query)[-2], block_size)
    key_blocks = Blocks.of(ops.shape(keys)[-2], block_size)
    block_mask = BlockMask(mask, query_blocks, key_blocks)
    constants: dict = {"mask": block_mask.tensors}
    if positions is not None:
        constants["query_positions"] = query_blocks.split(positions, 1)
        constants["key_positions"] = key_blocks.split(memory.positions, 1)
    if dropout is not None:
        constants["seed"] = ops.convert_to_tensor(dropout.seed)
    rate = None if dropout is None else dropout.rate
    attention = _BlockwiseAttention(_with_variables(score, variables), block_mask, rate, constants)
    context = call_with_gradient(
        attention.forward,
        attention.backward,
        [
            query_blocks.split(query, -2),
            key_blocks.split(keys, -2),
            key_blocks.split(values, -2),
            *(variable.value for variable in variables),
            *tree.flatten(constants),
        ],
    )
    return query_blocks.merge(context, -2)


class _BlockwiseAttention:
    """Context of blocks of queries and its gradient; tensors have an axis of blocks in front.

    The constants are passed with the other tensors, as JAX's rules for gradients want it.
    """

    def __init__(self, score, mask, dropout_rate, constants):
        self.score = score
        self.mask = mask
        self.dropout_rate = dropout_rate
        self.structure = constants
        self.num_constants = len(tree.flatten(constants))

    def forward(self, *inputs):
        """Returns the context, and with it the logarithms of the softmax's denominators."""
        query, keys, values, parameters, constants = self._unpack(inputs)
        first, last, every = self._ranges(constants)
        dtype = at_least_float32(values).dtype

        def all_keys_of(i, contexts, log_sums):
            query_i = ops.take(query, i, axis=0)  # (B, H, bq, U)

            def one_block(j, maximum, total, context):
                keys_j = ops.take(keys, j, axis=0)
                scores = self._scores(query_i, keys_j, i, j, constants, parameters)
                scores = self._masked(scores, i, j, every, constants)
                new_maximum = ops.maximum(maximum, ops.max(scores, axis=-1, keepdims=True))
                exponentials = ops.exp(scores - new_maximum)  # (B, H, bq, bk)
                decay = ops.exp(maximum - new_maximum)
                total = total * decay + ops.sum(exponentials, axis=-1, keepdims=True)
                weights = self._dropped(exponentials, i, j, constants)
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
            maximum, total, context = repeat(
                ops.take(first, i), ops.take(last, i), one_block, (maximum, total, context)
            )
            total = ops.where(ops.equal(total, 0), ops.ones_like(total), total)
            contexts = add_at(contexts, i, ops.cast(context / total, values.dtype))
            return contexts, add_at(log_sums, i, maximum + ops.log(total))

        rows = ops.shape(query)[:-1]
        contexts = ops.zeros((*rows, values.shape[-1]), values.dtype)
        log_sums = ops.zeros((*rows, 1), dtype)
        contexts, log_sums = repeat(0, rows[0], all_keys_of, (contexts, log_sums))
        return contexts, (contexts, log_sums)

    def backward(self, inputs, saved, gradient):
        """Returns the gradients of queries, keys, values and parameters; `None` for constants."""
        query, keys, values, parameters, constants = self._unpack(inputs)
        contexts, log_sums = saved
        first, last, every = self._ranges(constants)
        dtype = at_least_float32(values).dtype

        def all_keys_of(i, query_gradient, keys_gradient, values_gradient, *parameter_gradients):
            query_i, context_gradient = ops.take(query, i, axis=0), ops.take(gradient, i, axis=0)
            log_sum = ops.take(log_sums, i, axis=0)
            # sum_j p_j (dL/dp_j), the same for all keys
            mean = ops.cast(context_gradient, dtype) * ops.cast(
                ops.take(contexts, i, axis=0), dtype
            )
            mean = ops.sum(mean, axis=-1, keepdims=True)  # (B, H, bq, 1)

            def one_block(
                j, query_i_gradient, keys_gradient, values_gradient, *parameter_gradients
            ):
                keys_j, values_j = ops.take(keys, j, axis=0), ops.take(values, j, axis=0)
                scores, vjp = value_and_vjp(
                    lambda query_i, keys_j, *parameters: self._scores(
                        query_i, keys_j, i, j, constants, parameters
                    ),
                    [query_i, keys_j, *parameters],
                )
                weights = ops.exp(self._masked(scores, i, j, every, constants) - log_sum)
                dropped = ops.cast(self._dropped(weights, i, j, constants), values.dtype)
                values_j_gradient = grouped_outer(dropped, context_gradient, values_j.shape[1])
                weights_gradient = grouped_matmul(context_gradient, _transposed(values_j))
                weights_gradient = ops.cast(weights_gradient, dtype)
                weights_gradient = self._dropped(weights_gradient, i, j, constants)
                scores_gradient = weights * (weights_gradient - mean)  # (B, H, bq, bk)
                query_part, keys_part, *parameter_parts = vjp(scores_gradient)
                return (
                    query_i_gradient + ops.cast(query_part, dtype),
                    add_at(keys_gradient, j, ops.cast(keys_part, dtype)),
                    add_at(values_gradient, j, ops.cast(values_j_gradient, dtype)),
                    *(
                        total if part is None else total + ops.cast(part, total.dtype)
                        for total, part in zip(parameter_gradients, parameter_parts, strict=True)
                    ),
                )

            query_i_gradient, *others = repeat(
                ops.take(first, i),
                ops.take(last, i),
                one_block,
                (
                    ops.zeros(ops.shape(query_i), dtype),
                    keys_gradient,
                    values_gradient,
                    *parameter_gradients,
                ),
            )
            query_gradient = add_at(query_gradient, i, ops.cast(query_i_gradient, query.dtype))
            return query_gradient, *others

        carry = (
            ops.zeros(ops.shape(query), query.dtype),
            ops.zeros(ops.shape(keys), dtype),
            ops.zeros(ops.shape(values), dtype),
            *(ops.zeros(ops.shape(x), at_least_float32(x).dtype) for x in parameters),
        )
        gradients = repeat(0, ops.shape(query)[0], all_keys_of, carry)
        sources = (query, keys, values, *parameters)
        return (
            *(ops.cast(g, x.dtype) for g, x in zip(gradients, sources, strict=True)),
            *[None] * self.num_constants,
        )

    def _unpack(self, inputs):
        """Returns queries, keys, values, parameters, and the constants by name."""
        count = len(inputs) - self.num_constants
        constants = tree.pack_sequence_as(self.structure, list(inputs[count:]))
        return *inputs[:3], inputs[3:count], constants

    def _ranges(self, constants):
        """Returns each row's first and last block of keys, and where no mask is needed."""
        some, every = self.mask.tables(constants["mask"])  # (query blocks, key blocks)
        number = ops.arange(ops.shape(some)[1], dtype="int32")
        first = ops.min(ops.where(some, number, ops.shape(some)[1]), axis=1)
        last = ops.max(ops.where(some, number + 1, 0), axis=1)
        return first, last, every

    def _scores(self, query_i, keys_j, i, j, constants, parameters):
        positions = None
        if "query_positions" in constants:
            positions = (
                ops.take(constants["query_positions"], i, axis=0),
                ops.take(constants["key_positions"], j, axis=0),
            )
        return at_least_float32(self.score(query_i, keys_j, positions, *parameters))

    def _masked(self, scores, i, j, every, constants):
        def masked():
            mask = self.mask.block(constants["mask"], i, j)  # (B or 1, bq, bk)
            mask = ops.expand_dims(mask, 1) if len(scores.shape) == 4 else mask
            return ops.where(mask, scores, ops.cast(MASKED_SCORE, scores.dtype))

        return ops.cond(every[i, j], lambda: scores, masked)

    def _dropped(self, weights, i, j, constants):
        """Applies dropout; its mask depends on the seed and the numbers of the two blocks."""
        if self.dropout_rate is None:
            return weights
        return SeededDropout(self.dropout_rate, constants["seed"]).apply(weights, (i, j))


def _with_variables(score, variables):
    """Returns the score as a function of the variables' values, after its other arguments."""

    def function(query, keys, positions, *values):
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping, initialize_variables=False):
            return score(query, keys, positions)

    return function if variables else score


def _transposed(x):
    rank = len(x.shape)
    return ops.transpose(x, (*range(rank - 2), rank - 1, rank - 2))
