"""Tokenizer, model, generation and detokenizer as one thing that is called with text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attention.export import (
    Answer,
    TokensToTokens,
    export_saved_model,
    export_tflite,
)
from keras_attention.folders import check_replaceable, read_json, replace_folder, write_json
from keras_attention.generation import Generated, Greedy, Strategy
from keras_attention.models import EncoderDecoder
from keras_attention.ops.ids import END, PAD
from keras_attention.text import Tokenizer, load_tokenizer

__all__ = ["Alignment", "Answer", "Translator", "cut"]

FORMAT = 1
EXPORTS = {"saved_model": export_saved_model, "tflite": export_tflite}


class Alignment(NamedTuple):
    """Where each target token looked: `weights` is `(target, source)`."""

    source: list[str]
    target: list[str]
    weights: np.ndarray


class Translator(TokensToTokens):
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
        super().__init__(source_tokenizer, target_tokenizer, max_source_length)
        self.model = model
        self.strategy = strategy or Greedy()

    def attention(self, text: str) -> Alignment:
        """Translates one text and says where each token of the answer looked.

        Args:
            text: the source.

        Returns:
            An `Alignment`, ready for `keras_attention.viz.alignment`.
        """
        (ids,) = self._read([text])
        found = self.model.generate(self._pad([ids]), self.strategy, attention=True)
        written = cut(found.ids[0, 0])
        return Alignment(
            self.source_tokenizer.tokens(ids),
            self.target_tokenizer.tokens(written),
            found.attention[0, 0, : len(written), : len(ids)],
        )

    def _generate(self, source: np.ndarray) -> Generated:
        return self.model.generate(source, self.strategy)

    def save(self, folder: str | Path) -> None:
        """Writes the task to a folder: `model.keras`, both tokenizers and `task.json`.

        What stood there before is replaced only once all is written.

        Raises:
            ValueError: if the folder holds something else than a task.
        """
        check_replaceable(folder, "task.json")
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

    def export(
        self,
        folder: str | Path,
        format: str = "saved_model",
        sentences: Sequence[str] | None = None,
    ) -> dict:
        """Writes the task for a runtime without Python, runs it there, and compares.

        Args:
            folder: `"saved_model"`: TF Serving's base path, which gets the next version.
                `"tflite"`: the folder for `model.tflite` and the tokenizers.
            format: `"saved_model"` or `"tflite"`; see `keras_attention.export`.
            sentences: texts to prove it on; None makes some from the vocabulary.

        Returns:
            What the export's `proof.json` says, and `path`, where the export is.

        Raises:
            ValueError: if the format is unknown, Keras does not run on TensorFlow, or the folder
                holds something else.
            ExportError: if the export does not say what the task says; nothing is left of it.
        """
        if format not in EXPORTS:
            raise ValueError(
                f"format: expected one of {sorted(EXPORTS)}. Received: format={format!r}"
            )
        return EXPORTS[format](self, folder, sentences)

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
