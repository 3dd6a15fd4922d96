"""What every task does, whatever it answers: it is saved, loaded and exported."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_attention.export import export_saved_model, export_tflite
from keras_attention.utils.atomic_io import check_replaceable, read_json, replace_folder, write_json

FORMAT = 1
EXPORTS = {"saved_model": export_saved_model, "tflite": export_tflite}


class Task:
    """A model and its tokenizers. It goes before a kind of `keras_attention.export`.

    The kind (`TokensToTokens`, `TokensToLabel`, `TokensToTags`) says how text becomes ids and what
    was found becomes answers; a task gives `run`, with which its model finds, and `graphs`, what of
    it is exported. What else it is made of goes through `extras`.
    """

    model: keras.Model

    def graphs(self) -> dict[str, Callable]:
        """Keras models by signature: source ids `(batch, source)` to a dictionary of tensors.

        `serving_default` is there; `details` gives more, where there is more.
        """
        raise NotImplementedError("abstract")

    def about(self) -> dict:
        """What a proof tells of the task."""
        raise NotImplementedError("abstract")

    def extras(self) -> dict:
        """Arguments of `__init__` beyond the model and the kind's, which Keras can write."""
        return {}

    def save(self, folder: str | Path) -> None:
        """Writes the task to a folder: `model.keras`, the tokenizers and `task.json`.

        What stood there before is replaced only once all is written.

        Raises:
            ValueError: if the folder holds something else than a task.
        """
        check_replaceable(folder, "task.json")
        extras = {name: keras.saving.serialize_keras_object(x) for name, x in self.extras().items()}
        with replace_folder(folder) as new:
            self.model.save(new / "model.keras")
            settings = self.write_parts(new)
            said = {"task": type(self).__name__, "format": FORMAT}
            write_json(new / "task.json", {**said, **extras, **settings})

    @classmethod
    def _parts(cls, folder: str | Path) -> tuple[dict, dict]:
        """From what `save` wrote: arguments of `__init__`, and what `task.json` says of the rest.

        Raises:
            ValueError: if the folder holds no task of this kind and format.
        """
        folder = Path(folder)
        said = read_json(folder / "task.json")
        if (said.get("task"), said.get("format")) != (cls.__name__, FORMAT):
            raise ValueError(
                f"folder: expected a {cls.__name__} saved in format {FORMAT}. "
                f"Received: {str(folder)!r} with {said}"
            )
        model = keras.saving.load_model(folder / "model.keras")
        return {"model": model, **cls.read_parts(folder, said)}, said

    @classmethod
    def load(cls, folder: str | Path) -> Any:
        """Reads what `save` wrote.

        Args:
            folder: the folder.

        Raises:
            ValueError: if the folder holds no task of this kind and format.
        """
        return cls(**cls._parts(folder)[0])

    def export(
        self,
        folder: str | Path,
        format: str = "saved_model",
        sentences: Sequence[str] | None = None,
        **options: Any,
    ) -> dict:
        """Writes the task for a runtime without Python, runs it there, and compares.

        Args:
            folder: `"saved_model"`: TF Serving's base path, which gets the next version.
                `"tflite"`: the folder for `model.tflite` and the tokenizers.
            format: `"saved_model"` or `"tflite"`; see `keras_attention.export`.
            sentences: texts to prove it on; None makes some from the vocabulary.
            **options: the format's own: of `export_saved_model`, or of `export_tflite`.

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
        return EXPORTS[format](self, folder, sentences, **options)


def check_vocabulary(name: str, tokenizer: Any, size: int) -> None:
    """Raises a `ValueError` unless the tokenizer has as many tokens as the model."""
    if tokenizer.vocabulary_size != size:
        raise ValueError(
            f"{name}: expected the model's {size} tokens. "
            f"Received: {tokenizer.vocabulary_size} tokens"
        )
