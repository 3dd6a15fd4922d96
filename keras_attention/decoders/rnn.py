"""RNN decoder, with or without attention."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops, tree

from keras_attention.layers.build import build_if_needed, deserialize_config
from keras_attention.layers.embedding import TokenEmbedding, check_output
from keras_attention.layers.recurrent_decoder_cell import RecurrentDecoderCell
from keras_attention.ops import masks
from keras_attention.ops.loop import scan
from keras_attention.types import Mask, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class RNNDecoder(keras.layers.Layer):
    """RNN decoder: embedding, decoder cell, readout, logits.

    The initial state is `tanh(W s)`, where s is the encoder's final state (Bahdanau et al. 2015,
    appendix A.2.2). After a `BahdanauDecoderCell`, or a cell without attention, the readout is the
    deep output of the same appendix, a layer over state, context and previous token, with tanh in
    place of maxout. After a `LuongDecoderCell` the logits are a projection of the cell's output
    (Luong et al. 2015, equation 6).

    Args:
        embedding: a `TokenEmbedding` with an output; the readout has its width.
        cell: a `BahdanauDecoderCell`, `LuongDecoderCell` or other `RecurrentDecoderCell`.
        dropout: dropout rate of the readout.
        summary_input: whether the encoder's final state is part of every step's input (Cho et al.
            2014), the fixed context vector that Bahdanau et al. compare with.
        doubly_stochastic: weight of the doubly stochastic loss, which is added in training (Xu et
            al. 2015, equation 14); see `doubly_stochastic_loss`.
        scheduled_sampling: schedule from `keras_attention.training`, from the training step to the
            probability of feeding the true token, or None for teacher forcing (Bengio et al. 2015).
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        target_ids: int `(batch, time)`, beginning with START.
        encoded: `{"sequence": (batch, source, width), "state": (batch, width)}`.
        encoded_mask: bool `(batch, source)`, True means attend.
        training: whether the layer runs in training mode.

    Returns:
        Logits `(batch, time, vocabulary_size)` of all steps.

    Raises:
        ValueError: If the embedding has no output, or, when built, the output of a
            `LuongDecoderCell` is not as wide as the embedding.

    References:
        Bahdanau et al. 2015, [Neural Machine Translation by Jointly Learning to Align and
        Translate](https://arxiv.org/abs/1409.0473); Bengio et al. 2015, [Scheduled Sampling for
        Sequence Prediction](https://arxiv.org/abs/1506.03099).

    Example:

    >>> import numpy as np
    >>> from keras_attention.layers import BahdanauAttention, BahdanauDecoderCell, TokenEmbedding
    >>> cell = BahdanauDecoderCell(keras.layers.GRUCell(4), BahdanauAttention(4))
    >>> decoder = RNNDecoder(TokenEmbedding(12, 8, output="separate"), cell)
    >>> encoded = {"sequence": np.ones((2, 5, 6), "float32"), "state": np.ones((2, 6), "float32")}
    >>> tuple(decoder(np.array([[1, 5, 6]] * 2), encoded).shape)
    (2, 3, 12)
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        cell: RecurrentDecoderCell,
        dropout: float = 0.0,
        summary_input: bool = False,
        doubly_stochastic: float = 0.0,
        scheduled_sampling: Callable[[Tensor], Tensor] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_output(embedding)
        self.embedding = embedding
        self.cell = cell
        self.summary_input = summary_input
        self.doubly_stochastic = doubly_stochastic
        self.scheduled_sampling = scheduled_sampling
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.bridge = [
            keras.layers.Dense(size, "tanh", name=f"bridge_{i}", dtype=self.dtype_policy)
            for i, size in enumerate(tree.flatten(cell.cell.state_size))
        ]
        if cell.deep_output:
            self.readout = keras.layers.Dense(
                embedding.embedding_dim, "tanh", name="readout", dtype=self.dtype_policy
            )
        self.seed_generator = keras.random.SeedGenerator()

    @property
    def vocabulary_size(self) -> int:
        """Number of target ids."""
        return self.embedding.vocabulary_size

    @property
    def has_cache(self) -> bool:
        """False: the state of an RNN does not grow with the number of steps."""
        return False

    def build(self, target_ids_shape, encoded_shape):
        batch, time = target_ids_shape
        sequence, summary = encoded_shape["sequence"], encoded_shape["state"]
        build_if_needed(self.embedding, target_ids_shape)
        for layer in self.bridge:
            layer.build(summary)
        embedding_dim = self.embedding.embedding_dim
        width = embedding_dim + (summary[-1] if self.summary_input else 0)
        build_if_needed(self.cell, (batch, 1, width), memory_width=sequence[-1])
        if self.cell.deep_output:
            self.readout.build((batch, time, embedding_dim + self.cell.output_size))
        elif self.cell.output_size != embedding_dim:
            raise ValueError(
                "The output of a `LuongDecoderCell` must be as wide as the embedding that projects "
                f"it to logits. Received: output_size={self.cell.output_size}, "
                f"embedding_dim={embedding_dim}"
            )
        if self.scheduled_sampling is not None:
            self.trained_steps = self.add_weight(
                shape=(), dtype="int32", initializer="zeros", trainable=False, name="trained_steps"
            )
        self.built = True

    def compute_output_shape(self, target_ids_shape, encoded_shape=None):
        return (*target_ids_shape, self.vocabulary_size)

    def call(self, target_ids, encoded, encoded_mask=None, training=None):
        x = self.output_vectors(target_ids, encoded, encoded_mask, training)
        return self.embedding.logits(x)  # (B, T, V)

    def output_vectors(
        self,
        target_ids: Tensor,
        encoded: dict[str, Tensor],
        encoded_mask: Mask = None,
        training: bool | None = None,
    ) -> Tensor:
        """Returns the vectors `(B, T, E)` that `embedding.logits` projects; arguments as `call`."""
        constants, state = self.start(encoded, encoded_mask)
        if training and self.scheduled_sampling is not None:
            target_ids = self._sample_inputs(target_ids, constants, state)
        embedded = self.embedding(target_ids, training=training)  # (B, T, E)
        add_loss = bool(training and self.doubly_stochastic)
        outputs, weights = self.cell.call_sequence(
            self._add_summary(embedded, constants),
            state,
            constants["memory"],
            return_weights=add_loss,
            training=bool(training),
        )
        if add_loss:
            loss = doubly_stochastic_loss(weights, masks.padding_mask(target_ids))
            self.add_loss(self.doubly_stochastic * loss)
        return self._read_out(embedded, outputs, training)

    def start(
        self,
        encoded: dict,
        encoded_mask: Mask = None,
        num_beams: int = 1,
        max_length: int | None = None,
        cache_length: int | None = None,
    ) -> tuple[dict, dict]:
        """Returns what all steps and beams share, and the state before the first step.

        Args:
            encoded: `{"sequence": (batch, source, width), "state": (batch, width)}`.
            encoded_mask: bool `(batch, source)`, True means attend.
            num_beams: hypotheses per sequence.
            max_length: unused; the state of an RNN does not grow with the number of steps.
            cache_length: unused.

        Returns:
            `(constants, state)`; every leaf of `state` is `(batch, beams, ...)`.
        """
        if isinstance(encoded_mask, dict):  # Keras fills in a missing mask with one per output
            encoded_mask = encoded_mask["sequence"]
        memory = self.cell.memory(encoded["sequence"], encoded_mask)
        summary = ops.expand_dims(encoded["state"], 1)  # (B, 1, D)
        cell_states = [ops.repeat(layer(summary), num_beams, axis=1) for layer in self.bridge]
        state = self.cell.initial_state(cell_states, memory)  # leaves (B, K, ...)
        return {"memory": memory, "summary": summary}, state

    def grow(self, state: dict, constants: dict, length: Tensor) -> dict:
        """Returns the state as it is."""
        return state

    def step(
        self,
        ids: Tensor,
        position: Tensor,
        state: dict,
        constants: dict,
        return_weights: bool = False,
    ) -> tuple[Tensor, dict, Tensor | None]:
        """Computes one step of every beam.

        Args:
            ids: int `(batch, beams)`, the last token of each beam.
            position: int scalar, the number of tokens before it.
            state: from `start` or the previous step.
            constants: from `start`.
            return_weights: whether to return the attention weights.

        Returns:
            `(logits, state, weights)`: logits `(batch, beams, vocabulary_size)`, the next state,
            and the attention weights `(batch, beams, source)`, which are zero without attention, or
            None unless `return_weights`.
        """
        embedded = self.embedding(ids)  # (B, K, E)
        outputs, state, weights = self.cell(
            self._add_summary(embedded, constants),
            state,
            constants["memory"],
            position=position,
            return_weights=return_weights,
        )
        return self._logits(embedded, outputs), state, weights

    def _add_summary(self, embedded, constants):
        """Appends the encoder's final state to every input, where `summary_input` asks for it."""
        if not self.summary_input:
            return embedded
        summary = constants["summary"]
        shape = (*ops.shape(embedded)[:2], summary.shape[-1])
        return ops.concatenate([embedded, ops.broadcast_to(summary, shape)], axis=-1)

    def _logits(self, embedded, outputs, training=None):
        return self.embedding.logits(self._read_out(embedded, outputs, training))

    def _read_out(self, embedded, outputs, training):
        """Returns the vectors that are projected to logits, after dropout."""
        if self.cell.deep_output:
            outputs = self.readout(ops.concatenate([embedded, outputs], axis=-1))
        return self.dropout(outputs, training=training)

    def _sample_inputs(self, target_ids, constants, state):
        """Replaces some of the true tokens by the model's own predictions.

        Bengio et al. 2015, section 2.4. As in the paper, no gradient flows through the sampling.
        """
        assert self.scheduled_sampling is not None  # the caller checks
        truth_probability = self.scheduled_sampling(self.trained_steps)  # epsilon_i
        self.trained_steps.assign_add(1)
        noise = keras.random.uniform(ops.shape(target_ids), seed=self.seed_generator)
        use_truth = noise < truth_probability  # (B, T)
        first_ids = target_ids[:, 0]

        def step(carry, inputs):
            position, predicted_ids, state = carry
            true_ids, use_truth = inputs
            ids = ops.where(use_truth, true_ids, predicted_ids)  # (B,)
            logits, state, _ = self.step(ops.expand_dims(ids, 1), position, state, constants)
            predicted_ids = ops.cast(ops.argmax(ops.squeeze(logits, 1), axis=-1), ids.dtype)
            return (position + 1, predicted_ids, state), ids

        carry = (ops.convert_to_tensor(0, "int32"), first_ids, state)
        _, input_ids = scan(step, carry, (target_ids, use_truth), first_ids, training=True)
        return ops.stop_gradient(input_ids)

    def get_config(self):
        return {
            **super().get_config(),
            "embedding": keras.saving.serialize_keras_object(self.embedding),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "dropout": self.dropout.rate,
            "summary_input": self.summary_input,
            "doubly_stochastic": self.doubly_stochastic,
            "scheduled_sampling": keras.saving.serialize_keras_object(self.scheduled_sampling),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_config(config, "embedding", "cell", "scheduled_sampling"))


def doubly_stochastic_loss(weights: Tensor, mask: Mask) -> Tensor:
    """Computes `sum_i (1 - sum_t a_ti)^2`, over the batch, per target token.

    Xu et al. 2015, equation 14: it encourages the decoder to attend to every part of the source
    with a total weight of 1. The paper adds it to a loss summed over the caption; the losses here
    are means over tokens, so it is divided by their number.

    Args:
        weights: attention weights `(batch, time, source)`.
        mask: bool `(batch, time)`, True for target tokens, False for padding.

    Returns:
        float32 scalar.
    """
    mask = ops.cast(mask, "float32")
    totals = ops.einsum("bts,bt->bs", ops.cast(weights, "float32"), mask)  # sum_t a_ti
    return ops.sum(ops.square(1.0 - totals)) / ops.maximum(ops.sum(mask), 1.0)
