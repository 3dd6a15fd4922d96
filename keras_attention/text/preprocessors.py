"""Preprocessors of the text tasks: strings to the ids that a model reads, eagerly or in a graph."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from keras_attention.ops.ids import PAD, SPECIALS, UNKNOWN
from keras_attention.text.batching import bucket_lengths
from keras_attention.text.labeled import encode_words, split_words
from keras_attention.text.rows import append_end_to_lists
from keras_attention.text.tokenizer import Tokenizer
from keras_attention.types import Batch
from keras_attention.utils.lazy_tensorflow import tf
from keras_attention.utils.validation import check_static, check_texts

WORD = re.compile(r"\S+", re.ASCII)  # TensorFlow splits at the same white space


class TextPreprocessor:
    """Converts texts to ids that end with `[END]`, padded with 0.

    Args:
        tokenizer: encodes the texts.
        max_length: longest row, `[END]` included; longer texts are truncated, with a warning that
            counts them.

    Example:

    >>> from keras_attention.text import CharacterTokenizer
    >>> preprocessor = TextPreprocessor(CharacterTokenizer.train(["abc"]), max_length=8)
    >>> preprocessor(["ab", "c"]).model_inputs.numpy().tolist()
    [[4, 5, 2], [6, 2, 0]]
    """

    item_name = "texts"
    input_name = "text"  # of the inputs of an exported signature
    allows_empty_batch = True

    def __init__(self, tokenizer: Tokenizer, max_length: int = 128):
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.shape: tuple[int | None, int | None] = (None, None)

    @property
    def tokenizers(self) -> tuple[Tokenizer, ...]:
        """The tokenizers."""
        return (self.tokenizer,)

    def for_tflite(self) -> Self | None:
        """Returns a preprocessor of operations that TFLite has, `None` if TFLite lacks some."""
        return with_tflite_tokenizer(self)

    @property
    def input_spec(self) -> tf.TensorSpec:
        """Specification of raw inputs, strings `(batch,)`."""
        return tf.TensorSpec((None,), tf.string, name=self.input_name)

    @property
    def model_input_spec(self) -> tf.TensorSpec:
        """Specification of the ids `(batch, length)`."""
        return tf.TensorSpec(self.shape, tf.int32, name="source")

    def with_static_shape(self, static: Sequence[int]) -> Self:
        """Returns a preprocessor whose model inputs have one shape, for an export.

        Args:
            static: batch size and length; longer texts are truncated.

        Raises:
            ValueError: If `static` is not such a shape, or longer than `max_length`.
        """
        batch, length = check_static(static, self.max_length)
        result = copy.copy(self)
        result.max_length, result.shape = length, (batch, length)
        return result

    def is_single(self, inputs: object) -> bool:
        """Returns whether the argument is one text and not a list of texts."""
        return isinstance(inputs, str)

    def __call__(self, texts: Sequence[str] | tf.Tensor) -> Batch:
        """Encodes one batch, eagerly or in a graph.

        Args:
            texts: `(batch,)` strings.

        Returns:
            A `Batch` with ids `(batch, length)`, padded to the longest text, at least one column.
        """
        return Batch(pad_to_one_column(self.encode(texts)))

    def encode(self, texts: Sequence[str] | tf.Tensor) -> tf.RaggedTensor:
        """Encodes texts to ids `(batch, None)`, eagerly or in a graph."""
        return self.tokenizer.encode_ragged(texts, self.max_length)

    def encode_to_lists(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes a list of texts to lists of ids, as `encode` does."""
        return self.tokenizer.encode_to_lists(texts, self.max_length)

    def encode_normalized(self, texts: tf.Tensor) -> Batch:
        """Encodes texts in the tokenizer's normal form, with operations that TFLite has."""
        return Batch(self.tokenizer.encode_normal(texts, self.max_length))  # (B, S)

    def normalize(self, texts: Sequence[str]) -> np.ndarray:
        """Returns texts in the form that `encode_normalized` takes."""
        return self.tokenizer.normalize(texts).numpy()

    def encode_examples(self, texts: Sequence[str]) -> list:
        """Encodes any number of texts, one example each, so that `len` is their length."""
        check_texts("texts", texts)
        return [np.array(row, "int32") for row in self.encode_to_lists(texts)]

    def pad_examples(self, examples: list) -> Batch:
        """Pads examples to one of a few lengths, so that few shapes are compiled."""
        return Batch(self._pad(examples))

    def describe(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Returns the outputs of the signature `details` that describe its inputs, in a graph."""
        return {"source_tokens": tf.gather(token_names(self.tokenizer), batch.model_inputs)}

    def samples(self, texts: Sequence[str] | None) -> list[str]:
        """Returns the samples on which an export is verified.

        Args:
            texts: the first samples; `None` makes some from the vocabulary.

        Returns:
            These texts, an empty one, and one that is longer than `max_length`.

        Raises:
            ValueError: If all texts are empty.
        """
        check_texts("samples", () if texts is None else texts)
        texts = random_texts(self.tokenizer) if texts is None else list(texts)
        if not any(text.strip() for text in texts):
            raise ValueError(
                f"`samples` must contain at least one text that is not empty. Received: {texts}"
            )
        words = sum(len(text.split()) for text in texts)  # each is at least one token
        repeats = self.max_length // words + 1
        return [*texts, "", " ".join(texts * repeats)]

    def compact_samples(self, samples: Sequence[str]) -> list[str]:
        """Returns the samples as they are recorded next to an export."""
        return list(samples)

    def _pad(self, rows: list[np.ndarray]) -> np.ndarray:
        longest = max(len(row) for row in rows)
        length = next(n for n in bucket_lengths(self.max_length) if n >= longest)
        return np.stack([np.pad(row, (0, length - len(row))) for row in rows])


class PromptPreprocessor(TextPreprocessor):
    """Converts prompts to ids without `[END]`, padded with 0.

    Args:
        tokenizer: encodes the prompts.
        max_length: longest row; longer prompts lose their first tokens, with a warning that counts
            them.

    Raises:
        ValueError: If `max_length` is not positive.
    """

    def for_tflite(self) -> None:
        return None

    def __init__(self, tokenizer: Tokenizer, max_length: int = 128):
        if max_length < 1:
            raise ValueError(
                f"`max_prompt_length` must be at least 1. Received: max_prompt_length={max_length}"
            )
        super().__init__(tokenizer, max_length)

    def encode(self, texts: Sequence[str] | tf.Tensor) -> tf.RaggedTensor:
        """Encodes prompts to ids `(batch, None)`; longer prompts lose their first tokens."""
        ids = self.tokenizer.tokenize(texts)
        if tf.executing_eagerly():
            self._warn_if_longer(ids.row_lengths().numpy())
        return ids[:, -self.max_length :]

    def encode_to_lists(self, texts: Sequence[str]) -> list[list[int]]:
        rows = self.tokenizer.tokenize_to_lists(texts)
        self._warn_if_longer([len(row) for row in rows])
        return [row[-self.max_length :] for row in rows]

    def _warn_if_longer(self, lengths: Sequence[int]) -> None:
        count = sum(length > self.max_length for length in lengths)
        if count:
            warnings.warn(
                f"{count} of {len(lengths)} prompts have more than {self.max_length} tokens and "
                "lost their first tokens.",
                stacklevel=5,
            )


class WordPreprocessor(TextPreprocessor):
    """Splits texts at white space and encodes each word by itself.

    The `Batch` also has the words, and where each word starts among the ids.
    """

    def for_tflite(self) -> None:
        return None

    def __call__(self, texts: Sequence[str] | tf.Tensor) -> Batch:
        words = split_words(texts)
        ids, starts = encode_words(words, self.tokenizer, self.max_length)
        ids = pad_to_one_column(ids)  # (B, S)
        return Batch(ids, words, starts.to_tensor(False, shape=tf.shape(ids)))

    def encode(self, texts: Sequence[str] | tf.Tensor) -> tf.RaggedTensor:
        """Encodes texts word by word to ids `(batch, None)`, eagerly or in a graph."""
        return encode_words(split_words(texts), self.tokenizer, self.max_length)[0]

    def encode_examples(self, texts: Sequence[str]) -> list:
        """Encodes any number of texts, one `WordExample` each."""
        check_texts("texts", texts)
        words = [WORD.findall(text) for text in texts]
        remaining = iter(self.tokenizer.tokenize_to_lists([word for row in words for word in row]))
        tokens = [[next(remaining) or [UNKNOWN] for _ in row] for row in words]
        ids = [[id for word in row for id in word] for row in tokens]
        starts = [
            [position == 0 for word in row for position in range(len(word))] for row in tokens
        ]
        ids = append_end_to_lists(ids, self.max_length)
        return [
            WordExample(
                np.array(row_ids, "int32"),
                np.array([word.encode("utf-8") for word in row_words], "object"),
                np.array([*row_starts[: len(row_ids) - 1], False]),
            )
            for row_ids, row_words, row_starts in zip(ids, words, starts, strict=True)
        ]

    def pad_examples(self, examples: list) -> Batch:
        ids = self._pad([example.ids for example in examples])  # (B, S)
        starts = np.zeros(ids.shape, "bool")
        for row, example in enumerate(examples):
            starts[row, : len(example)] = example.word_starts
        return Batch(ids, [example.words for example in examples], starts)

    def describe(self, batch: Batch) -> dict[str, tf.Tensor]:
        return {**super().describe(batch), "begins_word": batch.word_starts}


class WordExample(NamedTuple):
    """One text: its ids, its words, and whether a word starts at each id."""

    ids: np.ndarray
    words: np.ndarray
    word_starts: np.ndarray

    def __len__(self):
        return len(self.ids)


def with_tflite_tokenizer(processor: Any) -> Any:
    """Returns a copy of a pre- or postprocessor with the tokenizer's form for TFLite.

    `None` if the tokenizer has none.
    """
    tokenizer = processor.tokenizer.for_tflite()
    if tokenizer is None:
        return None
    result = copy.copy(processor)
    result.tokenizer = tokenizer
    return result


def pad_to_one_column(ids: tf.RaggedTensor) -> tf.Tensor:
    """Pads ids `(batch, None)` to `(batch, length)`, where length is at least 1."""
    padded = ids.to_tensor(PAD)
    missing = tf.cast(tf.shape(padded)[1] == 0, "int32")  # an empty batch or prompt has no column
    return tf.pad(padded, [[0, 0], [0, missing]], constant_values=PAD)  # (B, S)


def token_names(tokenizer: Tokenizer) -> list[str]:
    """Returns the token of each id; the token of padding is the empty string."""
    return ["", *tokenizer.vocabulary[1:]]


def random_texts(tokenizer: Tokenizer, count: int = 8, seed: int = 0) -> list[str]:
    """Returns texts of 1 to 16 random tokens.

    Args:
        tokenizer: provides the vocabulary.
        count: number of texts.
        seed: seed of the random choice.
    """
    rng = np.random.default_rng(seed)
    ids = rng.integers(len(SPECIALS), tokenizer.vocabulary_size, (count, 16))
    ids[np.arange(16) >= rng.integers(1, 17, (count, 1))] = PAD
    return tokenizer.detokenize_to_texts(ids)
