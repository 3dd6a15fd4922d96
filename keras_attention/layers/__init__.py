"""Layers that a Keras script imports."""

from keras_attention.layers.backbones import KerasApplicationBackbone, ResidualCNN
from keras_attention.layers.bahdanau import BahdanauAttention
from keras_attention.layers.bahdanau_decoder_cell import BahdanauDecoderCell
from keras_attention.layers.base_attention import BaseAttention, ScoredAttention
from keras_attention.layers.decoder_block import DecoderBlock
from keras_attention.layers.dot import ContentAttention, DotAttention
from keras_attention.layers.embedding import TokenEmbedding
from keras_attention.layers.encoder_block import EncoderBlock
from keras_attention.layers.feed_forward import FeedForward
from keras_attention.layers.hard_attention_cell import HardAttentionCell
from keras_attention.layers.image_attention import NonLocal2D, SelfAttention2D
from keras_attention.layers.image_encoder import ImageEncoder, Patches
from keras_attention.layers.luong import LuongAttention
from keras_attention.layers.luong_decoder_cell import LuongDecoderCell
from keras_attention.layers.monotonic import MonotonicAttention
from keras_attention.layers.multi_head import MultiHeadAttention
from keras_attention.layers.pooling import ClassifierHead, Pooling, TaggerHead
from keras_attention.layers.positions import (
    AlibiBias,
    PositionEncoding,
    RelativePositionBias,
    RotaryEmbedding,
)
from keras_attention.layers.prompt import PromptEncoder
from keras_attention.layers.recurrent_decoder_cell import RecurrentDecoderCell
from keras_attention.layers.recurrent_encoder import RecurrentEncoder
from keras_attention.layers.residual import Residual
from keras_attention.layers.self_attention import MultiHeadSelfAttention
from keras_attention.layers.text_encoder import TextEncoder
from keras_attention.layers.transformer import TransformerEncoder
from keras_attention.layers.transformer_block import TransformerBlock, make_blocks

__all__ = [
    "AlibiBias",
    "BahdanauAttention",
    "BahdanauDecoderCell",
    "BaseAttention",
    "ClassifierHead",
    "ContentAttention",
    "DecoderBlock",
    "DotAttention",
    "EncoderBlock",
    "FeedForward",
    "HardAttentionCell",
    "ImageEncoder",
    "KerasApplicationBackbone",
    "LuongAttention",
    "LuongDecoderCell",
    "MonotonicAttention",
    "MultiHeadAttention",
    "MultiHeadSelfAttention",
    "NonLocal2D",
    "Patches",
    "Pooling",
    "PositionEncoding",
    "PromptEncoder",
    "RecurrentDecoderCell",
    "RecurrentEncoder",
    "RelativePositionBias",
    "Residual",
    "ResidualCNN",
    "RotaryEmbedding",
    "ScoredAttention",
    "SelfAttention2D",
    "TaggerHead",
    "TextEncoder",
    "TokenEmbedding",
    "TransformerBlock",
    "TransformerEncoder",
    "make_blocks",
]
