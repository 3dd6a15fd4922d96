"""Pass-through encoder of a decoder-only model."""

from typing import Any

import keras
import numpy as np

from keras_attention.ops import masks
from keras_attention.ops.ids import check_ids


@keras.saving.register_keras_serializable(package="keras_attention")
class PromptEncoder(keras.layers.Layer):
    """Pass-through encoder of a decoder-only model, whose decoder reads the prompt itself.

    Args:
        vocabulary_size: Number of ids.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        ids: Ids of the prompt, int `(B, P)`, padded with 0.

    Returns:
        The ids, unchanged.

    Example:

    >>> import numpy as np
    >>> PromptEncoder(10)(np.array([[5, 6, 0]])).shape[1]
    3
    """

    def __init__(self, vocabulary_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.built = True  # without weights, but `quantize` of Keras rejects unbuilt layers

    def call(self, ids: Any):
        return ids

    def compute_mask(self, ids, previous_mask=None):
        return masks.padding_mask(ids)

    def check(self, ids: np.ndarray) -> None:
        """Raises a `ValueError` unless these are ids `(B, P)` within the vocabulary."""
        check_ids(ids, self.vocabulary_size, "prompt")

    def get_config(self):
        return {**super().get_config(), "vocabulary_size": self.vocabulary_size}
