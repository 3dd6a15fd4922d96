"""What a trained task and its exports have in common: a list of texts in, answers out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attention.generation import Generated
from keras_attention.text import Tokenizer, bucket_lengths


class Answer(NamedTuple):
    """One answer and the strategy's score of it."""

    text: str
    score: float


class TextToText:
    """Base of what is called with text. A subclass gives `_read` and `_write`."""

    def __call__(self, texts: str | Sequence[str]) -> str | list[str]:
        """Answers a string with a string, or a list of strings with a list of strings."""
        if isinstance(texts, str):
            return self([texts])[0]
        return [answers[0].text for answers in self.generate(texts)]

    def generate(
        self, texts: Sequence[str], batch_size: int = 32, progress: bool = False
    ) -> list[list[Answer]]:
        """Answers a list of strings, and says how sure the model is.

        Args:
            texts: any number of strings, empty ones too.
            batch_size: texts generated for at once; texts of about one length go together.
            progress: whether to show a bar.

        Returns:
            For each text the strategy's answers, best first.

        Raises:
            ValueError: if `texts` is one string.
        """
        if isinstance(texts, str):
            raise ValueError(f"texts: expected a list of strings. Received: {texts[:80]!r}")
        answers: list = [None] * len(texts)
        items = self._read(texts)
        order = np.argsort([len(item) for item in items], kind="stable")
        bar = keras.utils.Progbar(len(texts), verbose=int(progress), unit_name="text")
        for start in range(0, len(texts), batch_size):
            rows = order[start : start + batch_size]
            for row, written in zip(rows, self._write([items[row] for row in rows]), strict=True):
                answers[row] = written
            bar.update(min(start + batch_size, len(texts)))
        return answers

    def _read(self, texts: Sequence[str]) -> list:
        """One item for each text; texts whose items are about as long go together."""
        raise NotImplementedError("abstract")

    def _write(self, items: list) -> list[list[Answer]]:
        """The answers to one batch of items."""
        raise NotImplementedError("abstract")


class TokensToTokens(TextToText):
    """Text to text around something that takes ids and gives ids. A subclass gives `_generate`.

    Args:
        source_tokenizer: for what comes in.
        target_tokenizer: for what goes out.
        max_source_length: longer sources are cut, with a warning that counts them.
    """

    def __init__(
        self, source_tokenizer: Tokenizer, target_tokenizer: Tokenizer, max_source_length: int
    ):
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.max_source_length = max_source_length

    def _generate(self, source: np.ndarray) -> Generated:
        """Source ids `(batch, source)` to `Generated` of NumPy arrays."""
        raise NotImplementedError("abstract")

    def _read(self, texts):
        if not len(texts):
            return []
        ragged = self.source_tokenizer.encode_ragged(list(texts), self.max_source_length)
        return [row.numpy() for row in ragged]

    def _write(self, items):
        found = self._generate(self._pad(items))
        return answers_of(found, self.target_tokenizer)

    def _pad(self, rows):
        """To one of a few lengths, so that few shapes are compiled: `(batch, length)`."""
        longest = max(len(row) for row in rows)
        lengths = bucket_lengths(self.max_source_length)
        length = next(length for length in lengths if length >= longest)
        return np.stack([np.pad(row, (0, length - len(row))) for row in rows])


def answers_of(found: Generated, tokenizer: Any) -> list[list[Answer]]:
    """Writes what a strategy found as text."""
    batch, n, length = found.ids.shape
    texts = tokenizer.detokenize(found.ids.reshape(batch * n, length)).numpy()
    answers = [
        Answer(text.decode("utf-8"), float(score))
        for text, score in zip(texts, found.scores.ravel(), strict=True)
    ]
    return [answers[i : i + n] for i in range(0, batch * n, n)]
