"""Models and the functions that build them."""

from keras_attention.models.captioner import captioner
from keras_attention.models.causal_lm import CausalLM, causal_lm
from keras_attention.models.classifier import classifier, tagger
from keras_attention.models.encoder_decoder import EncoderDecoder
from keras_attention.models.encoder_only import EncoderOnly
from keras_attention.models.masked_lm import MaskedLM, masked_lm
from keras_attention.models.seq2seq import seq2seq
from keras_attention.models.transformer import transformer
from keras_attention.models.transformer_config import TransformerConfig

__all__ = [
    "CausalLM",
    "EncoderDecoder",
    "EncoderOnly",
    "MaskedLM",
    "TransformerConfig",
    "captioner",
    "causal_lm",
    "classifier",
    "masked_lm",
    "seq2seq",
    "tagger",
    "transformer",
]
