"""TFLite export: writer, additional signatures, reduced precision and the LiteRT runner."""

from keras_attention.utils.optional_imports import require_extra

require_extra("export", "keras_attention.export.tflite")
