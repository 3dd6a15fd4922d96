"""Base classes of the attention layers: `memory`, `attend`, and Keras's call on top of them."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.linear import Linear
from keras_attention.layers.validation import (
    check_built,
    check_call,
    check_query,
    check_values,
)
from keras_attention.ops import masks
from keras_attention.ops.attention import (
    AttentionOptions,
    AttentionOutput,
    Memory,
    context,
    masked_softmax,
)
from keras_attention.ops.attention_mask import AttentionMask, as_attention_mask
from keras_attention.ops.blockwise import BLOCK_SIZE
from keras_attention.ops.fused import FusedAttention, is_explicit
from keras_attention.types import Mask, Tensor


class BaseAttention(keras.layers.Layer):
    """Base class of the attention layers; a subclass implements `memory` and `attend`.

    `memory` projects keys and values once; `attend` compares queries with them. The call has the
    arguments of `keras.layers.MultiHeadAttention`.

    Shapes: B batch, T queries, S keys, Q width of the query, D width of the values.

    Call arguments:
        query: (B, T, Q).
        value: (B, S, D).
        key: (B, S, K), compared with the query in place of `value`; `None` takes `value`.
        query_mask: bool (B, T). Masked queries get weights 0 and context 0. `None` takes the
            query's own Keras mask, as do the next two for value and key.
        value_mask: bool (B, S), True means attend.
        key_mask: bool (B, S), combined with `value_mask`.
        attention_mask: bool (B, T, S), or any shape that broadcasts to it.
        return_attention_scores: whether to return the pair `(output, weights)`.
        training: whether the layer runs in training mode.
        use_causal_mask: whether query t attends only to keys up to t.

    Returns:
        The output (B, T, D), or the pair of it and the weights (B, T, S). The output carries the
        query's Keras mask.

    Raises:
        ValueError: If the shapes of queries, keys, values or masks do not match.
    """

    # Queries, and keys, in a block of the fused form; fewer if scores have an axis of units too.
    block_size = BLOCK_SIZE

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, query_shape, value_shape, key_shape=None):
        self.built = True

    def memory(self, values: Tensor, keys: Tensor | None = None, mask: Mask = None) -> Memory:
        """Projects keys and values; call it once, before any loop over queries.

        Args:
            values: (B, S, D).
            keys: (B, S, K); `None` takes `values`.
            mask: bool (B, S), True means attend.

        Returns:
            A `Memory` for `attend`.

        Raises:
            ValueError: If keys or mask do not have the batch size and length of `values`, or the
                layer is not built.
        """
        raise NotImplementedError("A subclass of BaseAttention must implement `memory`.")

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
        """Attends with queries that do not depend on each other, such as the beams of one step.

        Args:
            query: (B, T, Q).
            memory: from `memory`.
            mask: bool (B, T, S) or (B, 1, S), or an `AttentionMask`; combined with the memory's
                mask.
            state: from `initial_state` or the previous step's output; `None` is the initial one.
            positions: positions of the queries, an int scalar, (T,) or (B, T); `None` is 0, 1, 2,
                ...
            return_weights: whether to return the weights.
            training: whether the layer runs in training mode.

        Returns:
            An `AttentionOutput`: the context (B, T, D), the weights (B, T, S) or `None` unless
            requested, and the state of the next step or `None` for attention without state.

        Raises:
            ValueError: If the query or the mask does not match the memory.
        """
        raise NotImplementedError("A subclass of BaseAttention must implement `attend`.")

    def attend_sequence(
        self,
        queries: Tensor,
        memory: Memory,
        *,
        mask: Mask = None,
        return_weights: bool = False,
        training: bool = False,
    ) -> AttentionOutput:
        """Attends with successive queries, at positions 0, 1, 2, ...

        Args:
            queries: (B, T, Q).
            memory: from `memory`.
            mask: bool (B, T, S) or (B, 1, S), or an `AttentionMask`; combined with the memory's
                mask.
            return_weights: whether to return the weights.
            training: whether the layer runs in training mode.

        Returns:
            An `AttentionOutput` as `attend` returns it; its state, if any, is that of the last
            query, (B, 1, S).
        """
        return self.attend(
            queries, memory, mask=mask, return_weights=return_weights, training=training
        )

    def initial_state(self, memory: Memory, num_queries: int) -> Tensor | None:
        """Returns the state before the first step, or `None` for attention without state.

        Args:
            memory: from `memory`.
            num_queries: number of queries T.

        Returns:
            (B, T, S), or `None`.
        """
        return None

    def call(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        query_mask: Mask = None,
        value_mask: Mask = None,
        key_mask: Mask = None,
        attention_mask: Mask = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        check_call(query, value, key, query_mask, value_mask, key_mask, attention_mask)
        memory = self.memory(value, key, masks.combine_masks(value_mask, key_mask))
        mask = AttentionMask(
            queries=query_mask, pairs=masks.expand_to_3d(attention_mask), causal=use_causal_mask
        )
        output = self.attend_sequence(
            query,
            memory,
            mask=mask,
            return_weights=return_attention_scores,
            training=bool(training),
        )
        return (output.context, output.weights) if return_attention_scores else output.context

    def compute_output_shape(self, query_shape, value_shape, key_shape=None):
        return (*query_shape[:-1], value_shape[-1])

    def compute_output_spec(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=None,
        use_causal_mask=False,
    ):
        check_call(query, value, key, query_mask, value_mask, key_mask, attention_mask)
        shape = self.compute_output_shape(query.shape, value.shape)
        output = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return output
        shape = self.compute_weights_shape(query.shape, value.shape)
        return output, keras.KerasTensor(shape, dtype=self.compute_dtype)

    def compute_weights_shape(self, query_shape: tuple, value_shape: tuple) -> tuple:
        """Returns the shape of the weights, (B, T, S)."""
        return (*query_shape[:-1], value_shape[1])

    def cast_weight(self, variable: Any) -> Tensor:
        """Returns a variable in the compute dtype, inside and outside of `__call__`."""
        return ops.cast(variable, self.compute_dtype)

    def projection(
        self, name: str, units: int, input_shape: tuple, use_bias: bool = False
    ) -> Linear:
        """Returns a built linear layer."""
        return Linear(units, input_shape[-1], use_bias=use_bias, name=name, dtype=self.dtype_policy)


class ScoredAttention(BaseAttention):
    """Base class of attention by one score per query and key; implement `compute_scores`.

    The weights are the softmax of the scores, and the context is the weighted sum of the values.
    A subclass whose keys are projected overrides `project_keys`; one whose weights are not this
    softmax overrides `compute_weights`.

    Call arguments:
        query, value, ...: see `BaseAttention`.

    Example:

    >>> import numpy as np
    >>> from keras_attention.ops import scores
    >>> class MyDotAttention(ScoredAttention):
    ...     def compute_scores(self, query, memory):
    ...         return scores.dot(query, memory.keys)
    >>> tuple(MyDotAttention()(np.ones((2, 3, 4)), np.ones((2, 5, 4))).shape)
    (2, 3, 4)
    """

    @property
    def is_softmax(self) -> bool:
        """True if the weights are the softmax of the scores, which has a fused form."""
        return type(self).compute_weights is ScoredAttention.compute_weights

    def project_keys(self, keys: Tensor) -> Tensor:
        """Projects the keys of `memory`, (B, S, K) -> (B, S, U); by default returns them."""
        return keys

    def compute_scores(self, query: Tensor, memory: Memory) -> Tensor:
        """Computes the scores, before mask and softmax, of all queries and keys or a block of each.

        Args:
            query: (B, T, Q).
            memory: from `memory`; a block of it has keys only.

        Returns:
            (B, T, S).
        """
        raise NotImplementedError("A subclass of ScoredAttention must implement `compute_scores`.")

    def compute_weights(
        self, query: Tensor, memory: Memory, mask: Mask, positions: Tensor | None
    ) -> Tensor:
        """Computes the attention weights, (B, T, S), from the scores.

        Args:
            query: (B, T, Q).
            memory: from `memory`.
            mask: bool, broadcasts with (B, T, S), the memory's mask included.
            positions: positions of the queries, as `attend` takes them.

        Returns:
            The weights, in the dtype of the scores.
        """
        return masked_softmax(self.compute_scores(query, memory), mask)

    def memory(self, values: Tensor, keys: Tensor | None = None, mask: Mask = None) -> Memory:
        check_values(values, keys, mask)
        check_built(self)
        values = ops.cast(values, self.compute_dtype)
        keys = values if keys is None else ops.cast(keys, self.compute_dtype)
        mask = None if mask is None else ops.cast(mask, "bool")
        return Memory(values, self.project_keys(keys), mask)

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
        query, mask = self._prepare_query(query, memory, mask)
        sizes = ops.shape(query)[1], ops.shape(memory.values)[1]
        if return_weights or not self.is_softmax:
            explicit = True
        else:
            explicit = is_explicit(*sizes, self.block_size, training)
        if explicit is True:
            weights = self.compute_weights(query, memory, mask.dense(*sizes), positions)
            weights = ops.cast(weights, self.compute_dtype)
            output = context(weights, memory.values)
            return AttentionOutput(output, weights if return_weights else None, None)
        attention = FusedAttention(
            lambda query, keys, _: self.compute_scores(query, Memory(None, keys)),
            self.weights,
            self.block_size,
        )
        output = attention(query, memory, AttentionOptions(mask), explicit)
        return AttentionOutput(output, None, None)

    def _prepare_query(self, query, memory, mask):
        """Returns the query in the compute dtype, and its mask combined with the memory's."""
        mask = as_attention_mask(mask)
        check_query(query, memory.values, mask.pairs)
        return ops.cast(query, self.compute_dtype), mask.with_keys(memory.mask)
