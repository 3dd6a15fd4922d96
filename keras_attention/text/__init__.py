"""Text to ids and back inside the graph, and batches for training."""

from keras_attention.utils.optional_imports import require_extra

require_extra("text", "keras_attention.text")

from keras_attention.ops.ids import END, PAD, SPECIALS, START, UNKNOWN
from keras_attention.text.bucketed_batches import (
    batches,
    bucket_lengths,
    read_parallel,
    repeat_batch,
)
from keras_attention.text.files import read_lines
from keras_attention.text.labeled_batches import (
    encode_words,
    labeled_batches,
    split_words,
    tagged_batches,
)
from keras_attention.text.marian import MarianTokenizer
from keras_attention.text.packed_batches import packed_batches
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
    "repeat_batch",
]
