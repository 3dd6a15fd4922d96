"""Tokenizer, model, generation and detokenizer as one thing that is called with text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attention.folders import read_json, replace_folder, write_json
from keras_attention.generation import Generated, Greedy, Strategy
from keras_attention.models import EncoderDecoder
from keras_attention.ops.ids import END, PAD
from keras_attention.text import Tokenizer, bucket_lengths, load_tokenizer

FORMAT = 1


class Answer(NamedTuple):
    """One answer and the strategy's score of it."""

    text: str
    score: float


class Alignment(NamedTuple):
    """Where each target token looked: `weights` is `(target, source)`."""

    source: list[str]
    target: list[str]
    weights: np.ndarray


class Translator:
    """Translates text with an `EncoderDecoder`.

    Train `model` with `fit` on `keras_attention.text.batches`; the task sees its weights at every
    call.

    Args:
        model: the model; its vocabularies are as large as the tokenizers'.
        source_tokenizer: for what comes in.
        target_tokenizer: for what goes out.
        strategy: `Greedy`, `Beam` or `Sample`; None is `Greedy()`.
        max_source_length: longer sources are cut, with a warning that counts them.

    Raises:
        ValueError: if a tokenizer's vocabulary is not the model's.

    Example:

    >>> from keras_attention.models import seq2seq
    >>> from keras_attention.text import Characters
    >>> letters = Characters.train(["abc"])
    >>> model = seq2seq(letters.vocabulary_size, letters.vocabulary_size, 8, 8)
    >>> translator = Translator(model, letters, letters, Greedy(max_length=5))
    >>> len(translator(["ab", "", "cab"]))
    3
    """

    def __init__(
        self,
        model: EncoderDecoder,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        strategy: Strategy | None = None,
        max_source_length: int = 128,
    ):
        for side, tokenizer, size in (
            ("source", source_tokenizer, model.encoder.vocabulary_size),
            ("target", target_tokenizer, model.decoder.vocabulary_size),
        ):
            if tokenizer.vocabulary_size != size:
                raise ValueError(
                    f"{side}_tokenizer: expected the model's {size} tokens. "
                    f"Received: {tokenizer.vocabulary_size} tokens"
                )
        self.model = model
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.strategy = strategy or Greedy()
        self.max_source_length = max_source_length

    def __call__(self, texts: str | Sequence[str]) -> str | list[str]:
        """Translates a string to a string, or a list of strings to a list of strings."""
        if isinstance(texts, str):
            return self([texts])[0]
        return [answers[0].text for answers in self.generate(texts)]

    def generate(
        self, texts: Sequence[str], batch_size: int = 32, progress: bool = False
    ) -> list[list[Answer]]:
        """Translates a list of strings, and says how sure the model is.

        Args:
            texts: any number of strings, empty ones too.
            batch_size: texts generated for at once; texts of about one length go together.
            progress: whether to show a bar.

        Returns:
            For each text the strategy's answers, best first.
        """
        answers: list = [None] * len(texts)
        ids = self._encode(texts)
        order = np.argsort([len(row) for row in ids], kind="stable")
        bar = keras.utils.Progbar(len(texts), verbose=int(progress), unit_name="text")
        for start in range(0, len(texts), batch_size):
            rows = order[start : start + batch_size]
            found = self.model.generate(self._pad([ids[row] for row in rows]), self.strategy)
            for row, written in zip(rows, self._answers(found), strict=True):
                answers[row] = written
            bar.update(min(start + batch_size, len(texts)))
        return answers

    def attention(self, text: str) -> Alignment:
        """Translates one text and says where each token of the answer looked.

        Args:
            text: the source.

        Returns:
            An `Alignment`, ready for `keras_attention.viz.alignment`.
        """
        (ids,) = self._encode([text])
        found = self.model.generate(self._pad([ids]), self.strategy, attention=True)
        written = cut(found.ids[0, 0])
        return Alignment(
            self.source_tokenizer.tokens(ids),
            self.target_tokenizer.tokens(written),
            found.attention[0, 0, : len(written), : len(ids)],
        )

    def _encode(self, texts):
        if not len(texts):
            return []
        ragged = self.source_tokenizer.encode_ragged(list(texts), self.max_source_length)
        return [row.numpy() for row in ragged]

    def _pad(self, rows):
        """To one of a few lengths, so that few shapes are compiled: `(batch, length)`."""
        longest = max(len(row) for row in rows)
        lengths = bucket_lengths(self.max_source_length)
        length = next(length for length in lengths if length >= longest)
        return np.stack([np.pad(row, (0, length - len(row))) for row in rows])

    def _answers(self, found: Generated):
        batch, n, length = found.ids.shape
        texts = self.target_tokenizer.detokenize(found.ids.reshape(batch * n, length)).numpy()
        answers = [
            Answer(text.decode("utf-8"), float(score))
            for text, score in zip(texts, found.scores.ravel(), strict=True)
        ]
        return [answers[i : i + n] for i in range(0, batch * n, n)]

    def save(self, folder: str | Path) -> None:
        """Writes the task to a folder: `model.keras`, both tokenizers and `task.json`.

        What stood there before is replaced only once all is written.
        """
        with replace_folder(folder) as new:
            self.model.save(new / "model.keras")
            self.source_tokenizer.save(new / "source")
            self.target_tokenizer.save(new / "target")
            write_json(
                new / "task.json",
                {
                    "task": type(self).__name__,
                    "format": FORMAT,
                    "strategy": keras.saving.serialize_keras_object(self.strategy),
                    "max_source_length": self.max_source_length,
                },
            )

    @classmethod
    def load(cls, folder: str | Path, strategy: Strategy | None = None) -> "Translator":
        """Reads what `save` wrote.

        Args:
            folder: the folder.
            strategy: in place of the saved one.

        Raises:
            ValueError: if the folder holds no translator of this format.
        """
        folder = Path(folder)
        task = read_json(folder / "task.json")
        if (task.get("task"), task.get("format")) != (cls.__name__, FORMAT):
            raise ValueError(
                f"folder: expected a {cls.__name__} saved in format {FORMAT}. "
                f"Received: {str(folder)!r} with {task}"
            )
        return cls(
            keras.saving.load_model(folder / "model.keras"),
            load_tokenizer(folder / "source"),
            load_tokenizer(folder / "target"),
            strategy or keras.saving.deserialize_keras_object(task["strategy"]),
            task["max_source_length"],
        )


def cut(ids: Any) -> list[int]:
    """One row of ids up to its END, which is kept, without padding."""
    ids = [int(id) for id in ids if id != PAD]
    return ids[: ids.index(END) + 1] if END in ids else ids
