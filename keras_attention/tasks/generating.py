"""What the tasks that generate have in common: a strategy, and where the answer looked."""

from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attention.generation import Generator, Strategy
from keras_attention.models.generative_model import GenerativeModel
from keras_attention.ops.ids import END, PAD
from keras_attention.tasks.task import Task


class Alignment(NamedTuple):
    """Where each target token looked: `weights` is `(target, source)`."""

    source: list[str]
    target: list[str]
    weights: np.ndarray


class Generating(Task):
    """A task whose model writes. It goes before `TokensToTokens` or a kind made of it."""

    model: GenerativeModel
    strategy: Strategy

    def attention(self, text: str) -> Alignment:
        """Answers one text and says where each token of the answer looked.

        Args:
            text: the source, or a prompt.

        Returns:
            An `Alignment`, ready for `keras_attention.viz.plot_alignment`.
        """
        (ids,) = self._read([text])
        found = self.model.generate(self._pad([ids]), self.strategy, attention=True)
        written = cut(found.ids[0, 0])
        return Alignment(
            self.source_tokenizer.tokens(ids),
            self.target_tokenizer.tokens(written),
            found.attention[0, 0, : len(written), : len(ids)],
        )

    def run(self, source: np.ndarray, details: bool = False) -> dict[str, np.ndarray]:
        """Source ids to `ids` and `scores`, and with details `attention`."""
        return self.model.generate(source, self.strategy, attention=details)._asdict()

    def graphs(self):
        return {
            "serving_default": Generator(self.model, self.strategy),
            "details": Generator(self.model, self.strategy, attention=True),
        }

    def about(self):
        return {"strategy": repr(self.strategy)}

    def extras(self):
        return {"strategy": self.strategy}

    @classmethod
    def load(cls, folder: str | Path, strategy: Strategy | None = None) -> "Generating":
        """Reads what `save` wrote.

        Args:
            folder: the folder.
            strategy: in place of the saved one.

        Raises:
            ValueError: if the folder holds no task of this kind and format.
        """
        parts, said = cls._parts(folder)
        saved = keras.saving.deserialize_keras_object(said["strategy"])
        return cls(**parts, strategy=strategy or saved)


def cut(ids: Any) -> list[int]:
    """One row of ids up to its END, which is kept, without padding."""
    ids = [int(id) for id in ids if id != PAD]
    return ids[: ids.index(END) + 1] if END in ids else ids
