"""Layers that a Keras script imports."""

from keras_attention.layers.attention import Attention, BahdanauAttention
from keras_attention.layers.dot import ContentAttention, DotAttention
from keras_attention.layers.luong import LuongAttention
from keras_attention.layers.monotonic import MonotonicAttention
from keras_attention.layers.recurrent import AttentionCell, RecurrentEncoder
from keras_attention.layers.text_encoder import TextEncoder

__all__ = [
    "Attention",
    "AttentionCell",
    "BahdanauAttention",
    "ContentAttention",
    "DotAttention",
    "LuongAttention",
    "MonotonicAttention",
    "RecurrentEncoder",
    "TextEncoder",
]
