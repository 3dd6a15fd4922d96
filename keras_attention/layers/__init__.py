"""Layers that a Keras script imports."""

from keras_attention.layers.attention import Attention, BahdanauAttention
from keras_attention.layers.attention_cell import AttentionCell
from keras_attention.layers.blocks import DecoderBlock, EncoderBlock
from keras_attention.layers.dot import ContentAttention, DotAttention
from keras_attention.layers.embedding import TokenEmbedding
from keras_attention.layers.feed_forward import FeedForward
from keras_attention.layers.hard_attention import HardAttentionCell
from keras_attention.layers.image_attention import NonLocal2D, SelfAttention2D
from keras_attention.layers.image_grids import ApplicationGrid, ResidualCNN
from keras_attention.layers.luong import LuongAttention
from keras_attention.layers.monotonic import MonotonicAttention
from keras_attention.layers.multi_head import MultiHeadAttention
from keras_attention.layers.pooling import ClassifierHead, Pooling, TaggerHead
from keras_attention.layers.positions import (
    ALiBiPositions,
    Positions,
    RelativePositions,
    RotaryPositions,
)
from keras_attention.layers.prompt import Prompt
from keras_attention.layers.recurrent import RecurrentEncoder
from keras_attention.layers.residual import Residual
from keras_attention.layers.self_attention import MultiHeadSelfAttention
from keras_attention.layers.text_encoder import TextEncoder
from keras_attention.layers.transformer import TransformerEncoder
from keras_attention.layers.vision import ImageEncoder, Patches

__all__ = [
    "ALiBiPositions",
    "ApplicationGrid",
    "Attention",
    "AttentionCell",
    "BahdanauAttention",
    "ClassifierHead",
    "ContentAttention",
    "DecoderBlock",
    "DotAttention",
    "EncoderBlock",
    "FeedForward",
    "HardAttentionCell",
    "ImageEncoder",
    "LuongAttention",
    "MonotonicAttention",
    "MultiHeadAttention",
    "MultiHeadSelfAttention",
    "NonLocal2D",
    "Patches",
    "Pooling",
    "Positions",
    "Prompt",
    "RecurrentEncoder",
    "RelativePositions",
    "Residual",
    "ResidualCNN",
    "RotaryPositions",
    "SelfAttention2D",
    "TaggerHead",
    "TextEncoder",
    "TokenEmbedding",
    "TransformerEncoder",
]
