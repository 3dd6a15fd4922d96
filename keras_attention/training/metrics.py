"""Token accuracy and perplexity over the tokens that are not padding."""

from __future__ import annotations

import keras
from keras import ops

from keras_attention.ops.cross_entropy import TokenLosses
from keras_attention.training.token_losses import token_losses, token_weights
from keras_attention.types import Tensor


class TokenMetric(keras.metrics.Mean):
    """Mean of a value of each token that is not padding."""

    def update_from_tokens(self, tokens: TokenLosses, weight: Tensor) -> None:
        """Updates the state from losses (B, T), and weights (B, T) that are 0 at padding."""
        raise NotImplementedError("TokenMetric is abstract.")

    def update_values(self, values: Tensor, weight: Tensor) -> None:
        """Updates the state with values (B, T)."""
        # Flattened, because Mean would average over time first, so that tokens of longer batches
        # would count less.
        super().update_state(ops.ravel(values), sample_weight=ops.ravel(weight))


@keras.saving.register_keras_serializable(package="keras_attention")
class TokenAccuracy(TokenMetric):
    """Fraction of the tokens, padding excluded, whose label has the highest logit.

    Args:
        name: name of the metric.
        dtype: dtype of its state.

    Call arguments:
        y_true: label ids, (B, T), 0 at padding.
        y_pred: logits or probabilities, (B, T, V).
        sample_weight: optional weights, (B,) or (B, T).

    Example:

    >>> import numpy as np
    >>> metric = TokenAccuracy()
    >>> metric.update_state(np.array([[1, 2, 0]]), np.eye(3)[[[1, 1, 1]]])
    >>> float(metric.result())
    0.5
    """

    def __init__(self, name: str = "token_accuracy", dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None):
        weight = token_weights(y_true, ops.shape(y_pred), sample_weight)
        is_correct = ops.equal(ops.argmax(y_pred, axis=-1), ops.cast(y_true, "int32"))  # (B, T)
        self.update_values(is_correct, weight)

    def update_from_tokens(self, tokens: TokenLosses, weight: Tensor) -> None:
        self.update_values(tokens.is_correct, weight)


@keras.saving.register_keras_serializable(package="keras_attention")
class Perplexity(TokenMetric):
    """Exponential of the mean negative log-likelihood of the tokens that are not padding.

    Args:
        name: name of the metric.
        dtype: dtype of its state.

    Call arguments:
        y_true: label ids, (B, T), 0 at padding.
        y_pred: logits, (B, T, V).
        sample_weight: optional weights, (B,) or (B, T).

    Example:

    >>> import numpy as np
    >>> metric = Perplexity()
    >>> metric.update_state(np.array([[1, 2, 0]]), np.zeros((1, 3, 10)))
    >>> round(float(metric.result()), 3)
    10.0
    """

    def __init__(self, name: str = "perplexity", dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None):
        weight = token_weights(y_true, ops.shape(y_pred), sample_weight)
        self.update_values(token_losses(y_true, y_pred), weight)

    def update_from_tokens(self, tokens: TokenLosses, weight: Tensor) -> None:
        self.update_values(tokens.nll, weight)

    def result(self):
        return ops.exp(super().result())
