"""RNN decoder with hard attention, trained by REINFORCE."""

from typing import Any

import keras
from keras import ops

from keras_attention.decoders.rnn import RNNDecoder
from keras_attention.layers.embedding import TokenEmbedding
from keras_attention.layers.hard_attention_cell import (
    HardAttentionCell,
    log_weights,
    select_location,
)
from keras_attention.ops import masks
from keras_attention.ops.ids import END, PAD
from keras_attention.ops.noise import gumbel
from keras_attention.types import Mask, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class HardAttentionDecoder(RNNDecoder):
    """RNN decoder with hard attention (Xu et al. 2015, section 4.1).

    In training it attends to sampled locations `s`, and adds a loss per target token whose gradient
    is that of equation 12, without the term of the cross-entropy:

        - w_r (log p(y|s, a) - b) log p(s|a) - w_e H[s]

    The baseline `b` is the moving average of `log p(y|s, a)`, the paper's `b_k = 0.9 b_(k-1) + 0.1
    log p(y|s_k, a)`. No gradient flows through the factor in brackets.

    Args:
        embedding: a `TokenEmbedding` with an output.
        cell: a `HardAttentionCell`.
        *args: further options of `RNNDecoder`.
        reward_weight: `w_r`, the paper's lambda_r.
        entropy_weight: `w_e`, the paper's lambda_e.
        **kwargs: further options of `RNNDecoder`.

    Call arguments:
        target_ids, encoded, encoded_mask, training: see `RNNDecoder`.

    Returns:
        Logits `(batch, time, vocabulary_size)` of all steps.

    Raises:
        ValueError: If the cell is not a `HardAttentionCell`.

    References:
        Xu et al. 2015, [Show, Attend and Tell](https://arxiv.org/abs/1502.03044); Williams 1992,
        [Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement
        Learning](https://doi.org/10.1007/BF00992696).

    Example:

    >>> import numpy as np
    >>> from keras_attention.layers import BahdanauAttention, HardAttentionCell, TokenEmbedding
    >>> cell = HardAttentionCell(keras.layers.GRUCell(4), BahdanauAttention(4))
    >>> decoder = HardAttentionDecoder(TokenEmbedding(12, 8, output="separate"), cell)
    >>> encoded = {"sequence": np.ones((2, 5, 6), "float32"), "state": np.ones((2, 6), "float32")}
    >>> tuple(decoder(np.array([[1, 5, 6]] * 2), encoded, training=True).shape)
    (2, 3, 12)
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        cell: HardAttentionCell,
        *args: Any,
        reward_weight: float = 1.0,
        entropy_weight: float = 0.002,
        **kwargs: Any,
    ):
        if not isinstance(cell, HardAttentionCell):
            raise ValueError(f"`cell` must be a `HardAttentionCell`. Received: cell={cell}")
        super().__init__(embedding, cell, *args, **kwargs)
        self.reward_weight = reward_weight
        self.entropy_weight = entropy_weight

    def build(self, target_ids_shape, encoded_shape):
        super().build(target_ids_shape, encoded_shape)
        self.built = False  # Keras adds no weights to a built layer
        self.baseline = self.add_weight(
            shape=(),
            dtype="float32",
            initializer="zeros",
            trainable=False,
            autocast=False,  # as the log-probabilities
            name="baseline",
        )
        self.draws = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="draws"
        )
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
        outputs, weights = self.cell.call_sequence(
            self._add_summary(embedded, constants),
            {**state, "noise": noise},
            memory,
            return_weights=True,
            training=True,
        )
        logits = self._logits(embedded, outputs, training)

        mask = ops.cast(masks.padding_mask(target_ids), "float32")  # (B, T)
        log_prob = sequence_log_prob(logits, next_ids(target_ids), mask)  # log p(y|s, a): (B,)
        selected = select_location(weights, ops.squeeze(noise, 1))  # s: (B, T, S)
        loss = reinforce_loss(
            log_prob - self.baseline,
            weights,
            selected,
            mask,
            self.reward_weight,
            self.entropy_weight,
        )
        self.add_loss(loss / ops.maximum(ops.sum(mask), 1.0))
        self.baseline.assign(0.9 * self.baseline + 0.1 * ops.stop_gradient(ops.mean(log_prob)))
        return logits

    def output_vectors(self, target_ids, encoded, encoded_mask=None, training=None):
        if training:
            raise ValueError(
                "Hard attention needs the logits for its reward. Use a loss with block_size=None."
            )
        return super().output_vectors(target_ids, encoded, encoded_mask, training)

    def get_config(self):
        return {
            **super().get_config(),
            "reward_weight": self.reward_weight,
            "entropy_weight": self.entropy_weight,
        }


def next_ids(target_ids: Tensor) -> Tensor:
    """Returns the label of each decoder input: the next id, and END after the last.

    >>> ops.convert_to_numpy(next_ids(ops.convert_to_tensor([[1, 7, 8], [1, 0, 0]]))).tolist()
    [[7, 8, 2], [2, 0, 0]]
    """
    target_ids = ops.cast(target_ids, "int32")
    shifted = ops.pad(target_ids[:, 1:], [[0, 0], [0, 1]], constant_values=PAD)
    return ops.where((shifted == PAD) & masks.padding_mask(target_ids), END, shifted)


def sequence_log_prob(logits: Tensor, labels: Tensor, mask: Mask) -> Tensor:
    """Computes the log-probability of each sequence of labels.

    Args:
        logits: `(batch, time, vocabulary_size)`.
        labels: int `(batch, time)`.
        mask: float `(batch, time)`, 0 for padding.

    Returns:
        float32 `(batch,)`.
    """
    log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    log_probs = ops.squeeze(ops.take_along_axis(log_probs, labels[..., None], axis=-1), -1)
    return ops.sum(log_probs * mask, axis=1)


def reinforce_loss(
    advantage: Tensor,
    weights: Tensor,
    selected: Tensor,
    mask: Mask,
    reward_weight: float,
    entropy_weight: float,
) -> Tensor:
    """Computes `- w_r advantage log p(s|a) - w_e H[s]`, summed over the batch.

    Xu et al. 2015, equation 12.

    Args:
        advantage: `log p(y|s, a) - b`, `(batch,)`; no gradient flows through it.
        weights: `p(s_t|a)`, the attention weights, `(batch, time, source)`.
        selected: `s_t`, the sampled locations, one-hot, `(batch, time, source)`.
        mask: float `(batch, time)`, 0 for padding.
        reward_weight: `w_r`.
        entropy_weight: `w_e`.

    Returns:
        float32 scalar.
    """
    logs = log_weights(weights)
    mask = ops.expand_dims(mask, -1)  # (B, T, 1)
    log_p = ops.sum(ops.cast(selected, "float32") * logs * mask, axis=(1, 2))  # log p(s|a): (B,)
    entropy = -ops.sum(ops.cast(weights, "float32") * logs * mask)  # H[s]
    reward = ops.sum(ops.stop_gradient(advantage) * log_p)
    return -reward_weight * reward - entropy_weight * entropy
