"""Text to ids and back inside the graph, and batches for training."""

from keras_attention.ops.ids import END, PAD, SPECIALS, START, UNKNOWN
from keras_attention.text.base import Tokenizer
from keras_attention.text.data import batches, bucket_lengths, read_parallel, twice
from keras_attention.text.files import read_lines
from keras_attention.text.labeled import (
    encode_words,
    labeled_batches,
    split_words,
    tagged_batches,
)
from keras_attention.text.marian import MarianPieces
from keras_attention.text.packed import packed_batches
from keras_attention.text.sentencepiece import Characters, SentencePiece
from keras_attention.text.tokenizers import load_tokenizer
from keras_attention.text.wordpiece import WordPiece

__all__ = [
    "END",
    "PAD",
    "SPECIALS",
    "START",
    "UNKNOWN",
    "Characters",
    "MarianPieces",
    "SentencePiece",
    "Tokenizer",
    "WordPiece",
    "batches",
    "bucket_lengths",
    "encode_words",
    "labeled_batches",
    "load_tokenizer",
    "packed_batches",
    "read_lines",
    "read_parallel",
    "split_words",
    "tagged_batches",
    "twice",
]
