"""The base of the attention layers, with the call of Keras's MultiHeadAttention, and Bahdanau's."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.linear import Linear
from keras_attention.layers.validation import (
    check_built,
    check_call,
    check_positive,
    check_query,
    check_values,
)
from keras_attention.ops import masks, scores
from keras_attention.ops.attention import Memory, context, masked_softmax


class BaseAttention(keras.layers.Layer):
    """Base of the attention layers; a kind of attention overrides `energies`, or `align`.

    Shapes: B batch, T queries, S keys, Q width of the query, D width of the values.

    Call arguments:
        query: (B, T, Q).
        value: (B, S, D).
        key: (B, S, K), compared with the query in place of `value`; `None` takes `value`.
        query_mask: Bool (B, T). Rows that are not kept get weights 0 and context 0. Where it is
            `None`, the query's own Keras mask counts; so too for the next two.
        value_mask: Bool (B, S), True is kept.
        key_mask: Bool (B, S), joined with `value_mask`.
        attention_mask: Bool (B, T, S), or of a shape that broadcasts to it.
        return_attention_scores: Return the pair `(context, scores)`.
        training: Whether the layer trains; only noise depends on it.
        use_causal_mask: Query t sees keys up to t.

    Returns:
        The context (B, T, D), or the pair of it and the scores (B, T, S). The context carries the
        query's Keras mask.

    Raises:
        ValueError: If the shapes cannot attend to each other, or a mask has another length.
    """

    uses_previous = False

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, query_shape, value_shape, key_shape=None):
        self.built = True

    def memory(self, values: Any, keys: Any = None, mask: Any = None) -> Memory:
        """Projects what is looked at; do it once, before any loop over queries.

        Args:
            values: (B, S, D).
            keys: (B, S, K), or `None` for `values`.
            mask: Bool (B, S), or `None`.

        Returns:
            A `Memory`, for `energies` and `attend`.

        Raises:
            ValueError: If keys or mask do not have the batch and length of `values`, or the layer
                is not built.
        """
        check_values(values, keys, mask)
        check_built(self)
        values = ops.cast(values, self.compute_dtype)
        keys = values if keys is None else ops.cast(keys, self.compute_dtype)
        mask = None if mask is None else ops.cast(mask, "bool")
        return Memory(values, self.project_keys(keys), mask)

    def project_keys(self, keys: Any):
        """What `memory` keeps of the keys: (B, S, K) -> (B, S, U)."""
        return keys

    def energies(self, query: Any, memory: Memory):
        """The raw scores that the papers call energies or alignments' logits.

        Args:
            query: (B, T, Q).
            memory: From `memory`.

        Returns:
            (B, T, S), nothing masked.
        """
        raise NotImplementedError("abstract")

    def attend(
        self,
        query: Any,
        memory: Memory,
        mask: Any = None,
        position: Any = None,
        previous: Any = None,
        training: bool = False,
    ) -> tuple[Any, Any]:
        """Attends with any number of queries, none of which depends on another.

        Args:
            query: (B, T, Q).
            memory: From `memory`.
            mask: Bool (B, T, S) or (B, 1, S), beyond the memory's own mask.
            position: Target position of the queries, an int scalar or (T,); `None` counts from 0.
                Luong's window "local-m" reads it.
            previous: (B, T, S), the alignment of the step before. MonotonicAttention reads it.
            training: Whether noise is added. MonotonicAttention reads it.

        Returns:
            The context (B, T, D) and the scores (B, T, S).

        Raises:
            ValueError: If the query or the mask does not fit the memory.
        """
        query, mask = self.ask(query, memory, mask)
        weights = self.align(query, memory, mask, position, previous, training)
        return context(weights, memory.values), weights

    def attend_in_order(
        self, query: Any, memory: Memory, mask: Any = None, training: bool = False
    ) -> tuple[Any, Any]:
        """`attend` with the queries as successive time steps, from the first one on."""
        query, mask = self.ask(query, memory, mask)
        weights = self.align_in_order(query, memory, mask, training)
        return context(weights, memory.values), weights

    def ask(self, query, memory, mask):
        """The query in the compute dtype, and its mask joined with the memory's, if any."""
        check_query(query, memory.values, mask)
        mask = masks.combine_masks(masks.expand_key_mask(memory.mask), mask)  # (B, 1 or T, S)
        return ops.cast(query, self.compute_dtype), mask

    def align(self, query, memory, mask, position, previous, training):
        """The weights of the values, (B, T, S)."""
        return masked_softmax(self.energies(query, memory), mask)

    def initial_alignment(self, memory: Memory, queries: int):
        """The `previous` of the first step: (B, queries, S), zeros where nothing reads it."""
        batch, length = ops.shape(memory.values)[:2]
        return ops.zeros((batch, queries, length), dtype=self.compute_dtype)

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ):
        check_call(query, value, key, query_mask, value_mask, key_mask, attention_mask)
        memory = self.memory(value, key, masks.combine_masks(value_mask, key_mask))
        mask = masks.combine_masks(
            masks.expand_query_mask(query_mask),
            masks.expand_to_3d(attention_mask),
            masks.causal(ops.shape(query)[1], ops.shape(value)[1]) if use_causal_mask else None,
        )
        output, weights = self.attend_in_order(query, memory, mask, bool(training))
        return (output, weights) if return_attention_scores else output

    def align_in_order(self, query, memory, mask, training):
        """`align` with the queries as successive time steps, from the first one on."""
        return self.align(query, memory, mask, None, None, training)

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
        shape = self.scores_shape(query.shape, value.shape)
        return output, keras.KerasTensor(shape, dtype=self.compute_dtype)

    def scores_shape(self, query_shape: tuple, value_shape: tuple) -> tuple:
        """The shape of the scores."""
        return (*query_shape[:-1], value_shape[1])

    def weight(self, variable: Any):
        """A weight in the compute dtype, in and out of `__call__`."""
        return ops.cast(variable, self.compute_dtype)

    def projection(
        self, name: str, units: int, input_shape: tuple, use_bias: bool = False
    ) -> Linear:
        """A built linear layer."""
        return Linear(units, input_shape[-1], use_bias=use_bias, name=name, dtype=self.dtype_policy)


@keras.saving.register_keras_serializable(package="keras_attention")
class BahdanauAttention(BaseAttention):
    """Additive attention: `e_ij = v_a . tanh(W_a s_(i-1) + U_a h_j)`.

    Bahdanau et al. 2015, equation 6 and appendix A.1.2.

    Args:
        units: Width of the hidden layer of the score.
        normalize: Use `g v_a / ||v_a||` in place of `v_a`, and a bias under the tanh, as Raffel et
            al. 2017 (section 2.4) and tfa.seq2seq do.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Raises:
        ValueError: If `units` is below 1.

    References:
        Bahdanau et al. 2015, [Neural Machine Translation by Jointly Learning to Align and
        Translate](https://arxiv.org/abs/1409.0473).

    Example:

    >>> import numpy as np
    >>> layer = BahdanauAttention(units=4)
    >>> query, value = np.ones((2, 3, 5), "float32"), np.ones((2, 7, 6), "float32")
    >>> output, scores = layer(query, value, return_attention_scores=True)
    >>> tuple(output.shape), tuple(scores.shape)
    ((2, 3, 6), (2, 3, 7))
    """

    def __init__(self, units: int, normalize: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("units", units)
        self.units = units
        self.normalize = normalize

    def build(self, query_shape, value_shape, key_shape=None):
        self.query_dense = self.projection("query", self.units, query_shape)
        self.key_dense = self.projection("key", self.units, key_shape or value_shape)
        self.v = self.add_weight(shape=(self.units,), initializer="glorot_uniform", name="v")
        if self.normalize:
            length = keras.initializers.Constant(self.units**-0.5)
            self.g = self.add_weight(shape=(), initializer=length, name="g")
            self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="b")
        self.built = True

    def project_keys(self, keys: Any):
        return self.key_dense(keys)

    def energies(self, query: Any, memory: Memory):
        query, v = self.query_dense(query), self.weight(self.v)
        if self.normalize:
            query = query + self.weight(self.b)
            v = self.weight(scores.weight_normalized(self.v, self.g))
        return scores.additive(query, memory.keys, v)

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units, "normalize": self.normalize}
