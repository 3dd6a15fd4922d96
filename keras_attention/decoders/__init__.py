"""Decoders: `call` for teacher forcing; `start`, `step` and `grow` for generation."""

from keras_attention.decoders.causal_lm import CausalLMDecoder
from keras_attention.decoders.hard_attention import HardAttentionDecoder
from keras_attention.decoders.rnn import RNNDecoder
from keras_attention.decoders.transformer import TransformerDecoder

__all__ = ["HardAttentionDecoder", "CausalLMDecoder", "RNNDecoder", "TransformerDecoder"]
