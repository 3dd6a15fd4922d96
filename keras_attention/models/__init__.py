"""Models and the functions that build them."""

from keras_attention.models.encoder_decoder import EncoderDecoder
from keras_attention.models.seq2seq import seq2seq

__all__ = ["EncoderDecoder", "seq2seq"]
