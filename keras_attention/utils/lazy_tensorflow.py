"""TensorFlow and TensorFlow Text, imported when they are first used.

They take a second and several hundred MB, and a task that runs a TFLite file needs neither: lists
of texts become ids, and ids texts, without them (see `Tokenizer.tokenize_to_lists`).
"""

from typing import TYPE_CHECKING

from keras_attention.utils.optional_imports import LazyModule

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_text as tf_text
else:
    tf, tf_text = LazyModule("tensorflow"), LazyModule("tensorflow_text")

__all__ = ["tf", "tf_text"]
