"""Image decoding inside a TensorFlow graph, and batches of captioned images."""

from keras_attention.utils.optional_imports import require_extra

require_extra("tensorflow", "keras_attention.images")

from keras_attention.images.batching import Image, captioned_batches
from keras_attention.images.decode import decode_image, read_image
from keras_attention.images.served import decode_images

__all__ = ["Image", "captioned_batches", "decode_image", "decode_images", "read_image"]
