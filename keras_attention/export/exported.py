"""Exports as things that are called with text, like the task they were made from."""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401, registers the tokenizers' operations

from keras_attention.export.saved_model import versions
from keras_attention.export.text_to_text import Answer, TextToText, TokensToTokens
from keras_attention.export.tflite import FILE, FORMAT, LiteRT
from keras_attention.folders import read_json
from keras_attention.generation import Generated
from keras_attention.text import load_tokenizer


class ExportedSavedModel(TextToText):
    """A SavedModel that `export_saved_model` wrote.

    Args:
        version: folder of one version.
    """

    def __init__(self, version: Path):
        self._model = tf.saved_model.load(str(version))  # owns what the signatures read
        if "details" not in self._model.signatures:
            raise ValueError(
                "folder: expected a SavedModel of this library, with a signature 'details'. "
                f"Received: {str(version)!r} with {sorted(self._model.signatures)}"
            )

    def _read(self, texts):
        return list(texts)

    def _write(self, items):
        found = self._model.signatures["details"](text=tf.constant(items, tf.string))
        return [
            [Answer(text.decode("utf-8"), float(score)) for text, score in zip(*row, strict=True)]
            for row in zip(found["text"].numpy(), found["score"].numpy(), strict=True)
        ]


class ExportedTFLite(TokensToTokens):
    """A folder that `export_tflite` wrote, run by LiteRT.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path):
        about = read_json(folder / "export.json")
        if (about.get("export"), about.get("format")) != ("tflite", FORMAT):
            raise ValueError(
                f"folder: expected a TFLite export of format {FORMAT}. "
                f"Received: {str(folder)!r} with {about}"
            )
        super().__init__(
            load_tokenizer(folder / "source"),
            load_tokenizer(folder / "target"),
            about["max_source_length"],
        )
        self._model = LiteRT(folder / FILE)

    def _generate(self, source: np.ndarray) -> Generated:
        return self._model.generate(source)


def open_exported(folder: str | Path) -> TextToText:
    """Opens an export, which is then called as the task was, without the model's code.

    Args:
        folder: what `Translator.export` wrote: a SavedModel's base path (its last version is
            taken) or one version of it, or a folder with `model.tflite`.

    Returns:
        An object with `generate(texts)`, callable with a string or a list of strings.

    Raises:
        ValueError: if the folder holds no export.
    """
    folder = Path(folder)
    if (folder / FILE).is_file():
        return ExportedTFLite(folder)
    if (folder / "saved_model.pb").is_file():
        return ExportedSavedModel(folder)
    numbers = versions(folder) if folder.is_dir() else []
    if numbers and (folder / str(numbers[-1]) / "saved_model.pb").is_file():
        return ExportedSavedModel(folder / str(numbers[-1]))
    raise ValueError(
        f"folder: expected a SavedModel, its base path, or a folder with {FILE}. "
        f"Received: {str(folder)!r}"
    )
