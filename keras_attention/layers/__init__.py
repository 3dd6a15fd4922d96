"""Layers that a Keras script imports."""

from keras_attention.layers.attention import Attention, BahdanauAttention
from keras_attention.layers.blocks import DecoderBlock, EncoderBlock
from keras_attention.layers.dot import ContentAttention, DotAttention
from keras_attention.layers.embedding import TokenEmbedding
from keras_attention.layers.feed_forward import FeedForward
from keras_attention.layers.luong import LuongAttention
from keras_attention.layers.monotonic import MonotonicAttention
from keras_attention.layers.multi_head import MultiHeadAttention, MultiHeadSelfAttention
from keras_attention.layers.pooling import ClassifierHead, Pooling, TaggerHead
from keras_attention.layers.positions import (
    ALiBiPositions,
    Positions,
    RelativePositions,
    RotaryPositions,
)
from keras_attention.layers.prompt import Prompt
from keras_attention.layers.recurrent import AttentionCell, RecurrentEncoder
from keras_attention.layers.residual import Residual
from keras_attention.layers.text_encoder import TextEncoder
from keras_attention.layers.transformer import TransformerEncoder

__all__ = [
    "ALiBiPositions",
    "Attention",
    "AttentionCell",
    "BahdanauAttention",
    "ClassifierHead",
    "ContentAttention",
    "DecoderBlock",
    "DotAttention",
    "EncoderBlock",
    "FeedForward",
    "LuongAttention",
    "MonotonicAttention",
    "MultiHeadAttention",
    "MultiHeadSelfAttention",
    "Pooling",
    "Positions",
    "Prompt",
    "RecurrentEncoder",
    "RelativePositions",
    "Residual",
    "RotaryPositions",
    "TaggerHead",
    "TextEncoder",
    "TokenEmbedding",
    "TransformerEncoder",
]
