"""Exports that run before they are left behind: SavedModel for TF Serving, TFLite for phones."""

from keras_attention.utils.optional_imports import require_extra

require_extra("export", "keras_attention.export")

from keras_attention.export.exported import load_exported
from keras_attention.export.image_to_text import ImagesToTokens
from keras_attention.export.prompt_to_text import PromptToTokens
from keras_attention.export.saved_model.writer import export_saved_model
from keras_attention.export.text_to_label import Label, TextToLabel, TokensToLabel
from keras_attention.export.text_to_tags import Tag, TextToTags, TokensToTags
from keras_attention.export.text_to_text import GeneratedText, TextToText, TokensToTokens
from keras_attention.export.tflite.writer import export_tflite
from keras_attention.export.verification.compare import ExportError
from keras_attention.export.verification.verify import verify

__all__ = [
    "GeneratedText",
    "ExportError",
    "ImagesToTokens",
    "Label",
    "PromptToTokens",
    "Tag",
    "TextToLabel",
    "TextToTags",
    "TextToText",
    "TokensToLabel",
    "TokensToTags",
    "TokensToTokens",
    "export_saved_model",
    "export_tflite",
    "load_exported",
    "verify",
]
