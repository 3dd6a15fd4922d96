"""What stands where an encoder stands when there is nothing to encode."""

import keras

from keras_attention.ops import masks
from keras_attention.ops.ids import check_ids


@keras.saving.register_keras_serializable(package="keras_attention")
class PromptEncoder(keras.layers.Layer):
    """Hands ids on as they are: a language model's decoder reads its prompt itself.

    Args:
        vocabulary_size: number of ids.

    Call arguments:
        ids: `(batch, prompt)` int, padded with 0.

    Example:

    >>> import numpy as np
    >>> PromptEncoder(10)(np.array([[5, 6, 0]])).shape[1]
    3
    """

    def __init__(self, vocabulary_size: int, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.built = True  # it has no weights; Keras's quantize refuses what is not built

    def call(self, ids):
        return ids

    def compute_mask(self, ids, previous_mask=None):
        return masks.padding(ids)

    def check(self, ids) -> None:
        """Raises a `ValueError` unless these are ids (batch, prompt) of the vocabulary."""
        check_ids(ids, self.vocabulary_size, "prompt")

    def get_config(self):
        return {**super().get_config(), "vocabulary_size": self.vocabulary_size}
