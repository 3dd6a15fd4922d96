"""Tokenizers that run inside a TensorFlow graph, and batches of text for `model.fit`."""

from keras_attention.utils.optional_imports import require_extra

require_extra("text", "keras_attention.text")

from keras_attention.ops.ids import END, PAD, SPECIALS, START, UNKNOWN
from keras_attention.text.batching import (
    bucket_lengths,
    bucketed_batches,
    repeat_batch,
)
from keras_attention.text.files import read_lines, read_parallel
from keras_attention.text.labeled import (
    encode_words,
    labeled_batches,
    split_words,
    tagged_batches,
)
from keras_attention.text.marian import MarianTokenizer
from keras_attention.text.packed import packed_batches, packed_pair_batches
from keras_attention.text.sentencepiece import CharacterTokenizer, SentencePieceTokenizer
from keras_attention.text.tokenizer import Tokenizer
from keras_attention.text.tokenizers import load_tokenizer
from keras_attention.text.wordpiece import WordPieceTokenizer

__all__ = [
    "END",
    "PAD",
    "SPECIALS",
    "START",
    "UNKNOWN",
    "CharacterTokenizer",
    "MarianTokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "WordPieceTokenizer",
    "bucketed_batches",
    "bucket_lengths",
    "encode_words",
    "labeled_batches",
    "load_tokenizer",
    "packed_batches",
    "packed_pair_batches",
    "read_lines",
    "read_parallel",
    "split_words",
    "tagged_batches",
    "repeat_batch",
]
