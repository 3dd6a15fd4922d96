"""Decoders: `call` for teacher forcing, `start` and `step` for generation."""

from keras_attention.decoders.rnn import RNNDecoder

__all__ = ["RNNDecoder"]
