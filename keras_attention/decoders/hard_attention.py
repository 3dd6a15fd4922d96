"""An RNN decoder whose attention is a choice, trained by REINFORCE."""

from typing import Any

import keras
from keras import ops

from keras_attention.decoders.rnn import RNNDecoder
from keras_attention.layers.hard_attention_cell import HardAttentionCell, choice, log_scores
from keras_attention.ops import masks
from keras_attention.ops.ids import END, PAD
from keras_attention.ops.noise import gumbel


@keras.saving.register_keras_serializable(package="keras_attention")
class HardAttentionDecoder(RNNDecoder):
    """`RNNDecoder` around a `HardAttentionCell` (Xu et al. 2015, section 4.1).

    In training it looks at sampled places `s`, and adds to the loss, for each target token, the
    terms whose gradient is the rest of equation 12:

        - w_r (log p(y|s, a) - b) log p(s|a) - w_e H[s]

    The baseline `b` is the moving average of `log p(y|s, a)` (the paper's `b_k = 0.9 b_(k-1) + 0.1
    log p`); no gradient runs through the bracket.

    Args:
        embedding, cell, ...: as `RNNDecoder` has them.
        reward: `w_r`, the paper's lambda_r.
        entropy: `w_e`, the paper's lambda_e.

    Raises:
        ValueError: if the cell is not a `HardAttentionCell`.

    References:
        Xu et al. 2015, [Show, Attend and Tell](https://arxiv.org/abs/1502.03044); Williams 1992,
        REINFORCE.

    Example:

    >>> import keras, numpy as np
    >>> from keras_attention.layers import BahdanauAttention, HardAttentionCell, TokenEmbedding
    >>> cell = HardAttentionCell(keras.layers.GRUCell(4), BahdanauAttention(4))
    >>> decoder = HardAttentionDecoder(TokenEmbedding(12, 8, output="separate"), cell)
    >>> encoded = {"sequence": np.ones((2, 5, 6), "float32"), "state": np.ones((2, 6), "float32")}
    >>> tuple(decoder(np.array([[1, 5, 6]] * 2), encoded, training=True).shape)
    (2, 3, 12)
    """

    def __init__(
        self,
        embedding,
        cell: HardAttentionCell,
        *args,
        reward: float = 1.0,
        entropy: float = 0.002,
        **kwargs: Any,
    ):
        if not isinstance(cell, HardAttentionCell):
            raise ValueError(f"cell: expected a HardAttentionCell. Received: cell={cell}")
        super().__init__(embedding, cell, *args, **kwargs)
        self.reward = reward
        self.entropy = entropy

    def build(self, target_ids_shape, encoded_shape):
        super().build(target_ids_shape, encoded_shape)
        self.built = False  # there is more to come
        same = {"initializer": "zeros", "trainable": False}
        self.baseline = self.add_weight(shape=(), dtype="float32", name="baseline", **same)
        self.draws = self.add_weight(shape=(), dtype="int32", name="draws", **same)
        self.built = True

    def call(self, target_ids, encoded, encoded_mask=None, training=None):
        if not training:
            return super().call(target_ids, encoded, encoded_mask, training)
        constants, state = self.start(encoded, encoded_mask)
        memory = constants["memory"]
        batch, time = ops.shape(target_ids)
        noise = gumbel(ops.arange(batch), self.draws, (batch, 1, time, ops.shape(memory.values)[1]))
        self.draws.assign_add(1)
        embedded = self.embedding(target_ids, training=training)  # (B, T, E)
        inputs = self._with_summary(embedded, constants)
        outputs, scores = self.cell.sequence(inputs, {**state, "noise": noise}, memory, True)
        logits = self._logits(embedded, outputs, training)

        kept = ops.cast(masks.padding_mask(target_ids), "float32")  # (B, T)
        likelihood = log_likelihood(logits, labels_of(target_ids), kept)  # (B,)
        chosen = choice(scores, ops.squeeze(noise, 1))  # (B, T, S)
        terms = reinforce(
            likelihood - self.baseline, scores, chosen, kept, self.reward, self.entropy
        )
        self.add_loss(terms / ops.maximum(ops.sum(kept), 1.0))
        self.baseline.assign(0.9 * self.baseline + 0.1 * ops.stop_gradient(ops.mean(likelihood)))
        return logits

    def get_config(self):
        return {**super().get_config(), "reward": self.reward, "entropy": self.entropy}


def labels_of(target_ids: Any):
    """What each position of a decoder's input should say: the next token, and END after the last.

    >>> ops.convert_to_numpy(labels_of(ops.convert_to_tensor([[1, 7, 8], [1, 0, 0]]))).tolist()
    [[7, 8, 2], [2, 0, 0]]
    """
    target_ids = ops.cast(target_ids, "int32")
    after = ops.pad(target_ids[:, 1:], [[0, 0], [0, 1]], constant_values=PAD)
    return ops.where((after == PAD) & masks.padding_mask(target_ids), END, after)


def log_likelihood(logits: Any, labels: Any, kept: Any):
    """`log p(y)` of each sequence: logits (B, T, V), labels and kept (B, T) -> (B,)."""
    log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    of_labels = ops.squeeze(ops.take_along_axis(log_probs, labels[..., None], axis=-1), -1)
    return ops.sum(of_labels * kept, axis=1)


def reinforce(advantage: Any, scores: Any, chosen: Any, kept: Any, reward: float, entropy: float):
    """`- w_r advantage log p(s|a) - w_e H[s]`, summed over the batch (Xu et al. 2015, eq. 12).

    Args:
        advantage: (B,), `log p(y|s, a) - b`; no gradient runs through it.
        scores: (B, T, S), `p(s_t|a)`.
        chosen: (B, T, S), the sampled places, one-hot.
        kept: float (B, T), 1 where there is a token.
        reward: `w_r`.
        entropy: `w_e`.

    Returns:
        Scalar, float32.
    """
    logs = log_scores(scores)
    kept = ops.expand_dims(kept, -1)  # (B, T, 1)
    of_choice = ops.sum(ops.cast(chosen, "float32") * logs * kept, axis=(1, 2))  # (B,)
    disorder = -ops.sum(ops.cast(scores, "float32") * logs * kept)
    return -reward * ops.sum(ops.stop_gradient(advantage) * of_choice) - entropy * disorder
