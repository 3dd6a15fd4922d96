"""Greedy search."""

import keras
from keras import ops

from keras_attention.generation.hypotheses import write_position
from keras_attention.generation.strategy import GenerationOutput, Strategy
from keras_attention.ops.ids import END, PAD
from keras_attention.types import Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class GreedySearch(Strategy):
    """Takes the most probable token at every step. The score is the sum of log-probabilities.

    Args:
        max_new_tokens: maximum number of generated tokens, END included.
        length_ratio: limits the output further, to this many tokens per source token.
        suppress_tokens: ids that are never generated, in addition to PAD and START.
        force_end: whether an output that reaches its limit ends with END, whose log-probability is
            then 0; otherwise it is cut.

    Example:

    >>> GreedySearch(max_new_tokens=20)
    GreedySearch(max_new_tokens=20, length_ratio=None, suppress_tokens=[], force_end=False)
    """

    def select_token(self, position: Tensor, log_probs: Tensor, options: dict) -> Tensor:
        """Returns the next token of each beam: (batch, beams, vocabulary) -> (batch, beams)."""
        return most_probable(log_probs)

    def initial_hypotheses(self, batch, source_length, return_attention, length):
        shape = (batch, self.num_beams)
        hypotheses = {
            "ids": ops.full((*shape, length), PAD, "int32"),
            "score": ops.zeros(shape, "float32"),
            "is_running": ops.ones(shape, "bool"),
        }
        if return_attention:
            hypotheses["attention"] = ops.zeros((*shape, length, source_length), "float32")
        return hypotheses

    def update(self, position, log_probs, weights, hypotheses, options, source_mask):
        is_running = hypotheses["is_running"]  # (B, K)
        token = self.select_token(position, log_probs, options)  # (B, K)
        log_prob = take_log_probs(log_probs, token)  # (B, K)
        token = ops.where(is_running, token, PAD)
        updated = {
            "ids": write_position(hypotheses["ids"], position, token),
            "score": hypotheses["score"] + ops.where(is_running, log_prob, 0.0),
            "is_running": is_running & (token != END) & (position + 1 < options["max_new_tokens"]),
        }
        if "attention" in hypotheses:
            weights = ops.where(ops.expand_dims(is_running, -1), weights, 0.0)
            updated["attention"] = write_position(hypotheses["attention"], position, weights)
        return None, token, updated

    def is_running(self, hypotheses):
        return hypotheses["is_running"]

    def finalize(self, hypotheses):
        return GenerationOutput(hypotheses["ids"], hypotheses["score"], hypotheses.get("attention"))


def take_log_probs(log_probs: Tensor, token: Tensor) -> Tensor:
    """Returns the log-probability of each beam's token, (batch, beams), with one gather.

    Args:
        log_probs: (batch, beams, vocabulary).
        token: int32 (batch, beams).

    Example:

    >>> log_probs = ops.convert_to_tensor([[[-1.0, -2.0], [-3.0, -4.0]]])
    >>> ops.convert_to_numpy(take_log_probs(log_probs, ops.array([[1, 0]]))).tolist()
    [[-2.0, -3.0]]
    """
    batch, beams = ops.shape(token)
    first = ops.reshape(ops.arange(batch * beams, dtype="int32"), (batch, beams))
    return ops.take(ops.reshape(log_probs, (-1,)), first * log_probs.shape[-1] + token)


def most_probable(logits: Tensor) -> Tensor:
    """Returns the index of the greatest value, int32; of equal ones the first, on every backend.

    It uses neither `ops.argmax`, which TFLite's built-in operations do not convert, nor
    `ops.top_k`, which returns any of several equal values on PyTorch.
    """
    size = logits.shape[-1]
    is_greatest = logits >= ops.max(logits, axis=-1, keepdims=True)
    return ops.min(ops.where(is_greatest, ops.arange(size, dtype="int32"), size - 1), axis=-1)
