"""Models and the functions that build them."""

from keras_attention.models.captioner import captioner
from keras_attention.models.classifier import classifier, tagger
from keras_attention.models.encoder_decoder import EncoderDecoder
from keras_attention.models.encoder_only import EncoderOnly
from keras_attention.models.language_model import LanguageModel, language_model
from keras_attention.models.masked_language_model import (
    MaskedLanguageModel,
    masked_language_model,
)
from keras_attention.models.seq2seq import seq2seq
from keras_attention.models.transformer import transformer

__all__ = [
    "EncoderDecoder",
    "EncoderOnly",
    "LanguageModel",
    "MaskedLanguageModel",
    "captioner",
    "classifier",
    "language_model",
    "masked_language_model",
    "seq2seq",
    "tagger",
    "transformer",
]
