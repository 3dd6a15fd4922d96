"""The decoder contract, kept by an RNN with attention."""

import keras
from keras import ops, tree

from keras_attention.layers.build import build_if_needed, deserialize_config
from keras_attention.layers.embedding import TokenEmbedding, check_output
from keras_attention.layers.recurrent_decoder_cell import RecurrentDecoderCell
from keras_attention.ops import masks
from keras_attention.ops.attention import Memory
from keras_attention.ops.loop import scan


@keras.saving.register_keras_serializable(package="keras_attention")
class RNNDecoder(keras.layers.Layer):
    """Embedding -> RNN with attention -> readout -> logits.

    The first state is `tanh(W summary)` of the encoder's last state (Bahdanau et al. 2015,
    appendix A.2.2). In Bahdanau's order the readout is the paper's deep output, a layer over the
    state, the context and the last token (tanh in maxout's place); in Luong's order the logits
    come from the joined vector (Luong et al. 2015, eq. 6).

    Args:
        embedding: a `TokenEmbedding` with an output; the readout is as wide.
        cell: an `RecurrentDecoderCell`.
        dropout: rate on the readout.
        summary_input: whether the encoder's last state joins the input of every step: the same
            context at every step (Cho et al. 2014), the baseline that Bahdanau argues with.
        doubly_stochastic: how much the loss grows where a position of the source is not looked at
            once in all, `sum_i (1 - sum_t a_ti)^2` for each target token (Xu et al. 2015, eq. 14).
        scheduled_sampling: `schedule(step) -> probability of feeding the true token` from
            `keras_attention.training`, or None for teacher forcing.

    Raises:
        ValueError: if the embedding has no output, or the joined vector of Luong's order is not as
            wide as the embedding.

    Example:

    >>> import keras, numpy as np
    >>> from keras_attention.layers import RecurrentDecoderCell, BahdanauAttention, TokenEmbedding
    >>> cell = RecurrentDecoderCell(keras.layers.GRUCell(4), BahdanauAttention(4))
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
        scheduled_sampling=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_output(embedding)
        self.embedding = embedding
        self.cell = cell
        self.summary_input = summary_input
        self.doubly_stochastic = doubly_stochastic
        self.scheduled_sampling = scheduled_sampling
        same = {"dtype": self.dtype_policy}
        self.dropout = keras.layers.Dropout(dropout, **same)
        self.bridge = [
            keras.layers.Dense(size, "tanh", name=f"bridge_{i}", **same)
            for i, size in enumerate(tree.flatten(cell.cell.state_size))
        ]
        self.deep_output = not cell.joins
        if self.deep_output:
            self.readout = keras.layers.Dense(
                embedding.embedding_dim, "tanh", name="readout", **same
            )
        self.noise = keras.random.SeedGenerator()

    @property
    def vocabulary_size(self) -> int:
        """Number of target ids."""
        return self.embedding.vocabulary_size

    def build(self, target_ids_shape, encoded_shape):
        batch, time = target_ids_shape
        sequence, summary = encoded_shape["sequence"], encoded_shape["state"]
        build_if_needed(self.embedding, target_ids_shape)
        for layer in self.bridge:
            layer.build(summary)
        width = self.embedding.embedding_dim + (summary[-1] if self.summary_input else 0)
        build_if_needed(self.cell, (batch, 1, width), memory_width=sequence[-1])
        if self.deep_output:
            self.readout.build((batch, time, self.embedding.embedding_dim + self.cell.output_size))
        elif self.cell.output_size != self.embedding.embedding_dim:
            raise ValueError(
                "cell: expected its output in Luong's order to be as wide as the embedding that "
                f"turns it to logits. Received: output width {self.cell.output_size}, "
                f"embedding_dim={self.embedding.embedding_dim}"
            )
        if self.scheduled_sampling is not None:
            self.trained_steps = self.add_weight(
                shape=(), dtype="int32", initializer="zeros", trainable=False, name="trained_steps"
            )
        self.built = True

    def call(self, target_ids, encoded, encoded_mask=None, training=None):
        """Teacher forcing: logits `(batch, time, vocabulary)` of all steps at once."""
        constants, state = self.start(encoded, encoded_mask)
        if training and self.scheduled_sampling is not None:
            target_ids = self._mix_in_predictions(target_ids, constants, state)
        embedded = self.embedding(target_ids, training=training)  # (B, T, E)
        inputs = self._with_summary(embedded, constants)
        outputs, scores = self.cell.sequence(inputs, state, constants["memory"], bool(training))
        if training and self.doubly_stochastic:
            kept = masks.padding_mask(target_ids)
            self.add_loss(self.doubly_stochastic * doubly_stochastic_loss(scores, kept))
        return self._logits(embedded, outputs, training)

    def start(
        self, encoded: dict, encoded_mask=None, num_beams: int = 1, max_length: int | None = None
    ) -> tuple[dict, dict]:
        """What all steps and beams share, and the state before the first step.

        Args:
            encoded: `{"sequence": (batch, source, width), "state": (batch, width)}`.
            encoded_mask: `(batch, source)` bool, True is kept.
            num_beams: hypotheses per sequence.
            max_length: unused; an RNN has no cache of that length.

        Returns:
            `(constants, state)`; every leaf of `state` is `(batch, beams, ...)`.
        """
        if isinstance(encoded_mask, dict):  # Keras fills in one that was left out
            encoded_mask = encoded_mask["sequence"]
        if self.cell.attention is None:
            memory = Memory(encoded["sequence"], encoded["sequence"], encoded_mask)
        else:
            memory = self.cell.attention.memory(encoded["sequence"], mask=encoded_mask)
        summary = ops.expand_dims(encoded["state"], 1)  # (B, 1, D)
        states = [
            ops.repeat(layer(summary), num_beams, axis=1) for layer in self.bridge
        ]  # (B, K, U)
        return {"memory": memory, "summary": summary}, self.cell.initial_state(states, memory)

    def step(
        self, ids, position, state: dict, constants: dict, return_weights: bool = False
    ) -> tuple:
        """One step of every beam.

        Args:
            ids: `(batch, beams)` int, the last token of each.
            position: scalar int, how many tokens came before it.
            state: from `start` or the step before.
            constants: from `start`.
            return_weights: whether to return attention weights.

        Returns:
            `(logits, state, weights)`: `(batch, beams, vocabulary)`, the next state, and attention
            weights `(batch, beams, source)`, or None unless requested.
        """
        embedded = self.embedding(ids)  # (B, K, E)
        inputs = self._with_summary(embedded, constants)
        outputs, state, scores = self.cell(inputs, state, constants["memory"], position=position)
        return self._logits(embedded, outputs), state, scores if return_weights else None

    def _with_summary(self, embedded, constants):
        if not self.summary_input:
            return embedded
        summary = constants["summary"]
        shape = (*ops.shape(embedded)[:2], summary.shape[-1])
        return ops.concatenate([embedded, ops.broadcast_to(summary, shape)], axis=-1)

    def _logits(self, embedded, outputs, training=None):
        if self.deep_output:
            outputs = self.readout(ops.concatenate([embedded, outputs], axis=-1))
        return self.embedding.logits(self.dropout(outputs, training=training))

    def _mix_in_predictions(self, target_ids, constants, state):
        """Gives some true tokens up for the model's own choices.

        Bengio et al. 2015, section 2.4; no gradient runs through the choice, as in the paper.
        """
        truth = self.scheduled_sampling(self.trained_steps)
        self.trained_steps.assign_add(1)
        feed_truth = keras.random.uniform(ops.shape(target_ids), seed=self.noise) < truth
        first = target_ids[:, 0]

        def step(carry, x):
            position, chosen, state = carry
            true_ids, feed_truth = x
            ids = ops.where(feed_truth, true_ids, chosen)  # (B,)
            logits, state, _ = self.step(ops.expand_dims(ids, 1), position, state, constants)
            chosen = ops.cast(ops.argmax(ops.squeeze(logits, 1), axis=-1), ids.dtype)
            return (position + 1, chosen, state), ids

        start = (ops.convert_to_tensor(0, "int32"), first, state)
        _, mixed = scan(step, start, (target_ids, feed_truth), first)
        return ops.stop_gradient(mixed)

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


def doubly_stochastic_loss(scores, kept):
    """`sum_i (1 - sum_t a_ti)^2` over a batch, for each target token (Xu et al. 2015, eq. 14).

    The paper adds it to a sum over the caption; the loss here is a mean over tokens: so is this.

    Args:
        scores: (B, T, S).
        kept: Bool (B, T), the target tokens that are there.

    Returns:
        Scalar, float32.
    """
    kept = ops.cast(kept, "float32")
    looked = ops.einsum("bts,bt->bs", ops.cast(scores, "float32"), kept)
    return ops.sum(ops.square(1.0 - looked)) / ops.maximum(ops.sum(kept), 1.0)
