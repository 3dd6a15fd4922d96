"""Exports as things that are called with text, like the task they were made from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_text  # noqa: F401, registers the tokenizers' operations

from keras_attention.export.image_to_text import Images, ImagesToTokens, image_bytes
from keras_attention.export.prompt_to_text import PromptToTokens
from keras_attention.export.saved_model.versions import list_versions
from keras_attention.export.saved_model.writer import EXTRA
from keras_attention.export.text_to_label import Label, TextToLabel, TokensToLabel
from keras_attention.export.text_to_tags import Tag, TextToTags, TokensToTags
from keras_attention.export.text_to_text import GeneratedText, TextToText, TokensToTokens
from keras_attention.export.texts import Texts, Tokens
from keras_attention.export.tflite.writer import FILE, FORMAT, LiteRT
from keras_attention.utils.atomic_io import read_json


class _SavedModel:
    """What is common to SavedModels: texts go in as they are."""

    served_input = "text"
    signature = "details"

    def __init__(self, model):
        self._model = model  # owns what the signatures read

    def _read(self, texts):
        return list(texts)

    def _write(self, items):
        given = {self.served_input: tf.constant(items, tf.string)}
        found = self._model.signatures[self.signature](**given)
        found = {name: x.numpy() for name, x in found.items()}
        return [self._row(*row) for row in zip(*(found[name] for name in self.names), strict=True)]


class SavedText(_SavedModel, TextToText):
    """A SavedModel of text to text."""

    names = ("text", "score")

    def _row(self, texts, scores):
        return [
            GeneratedText(a.decode("utf-8"), float(b)) for a, b in zip(texts, scores, strict=True)
        ]


class SavedCaption(Images, SavedText):
    """A SavedModel of image to text."""

    served_input = "image_bytes"

    def _read(self, texts):
        return list(map(image_bytes, texts))


class SavedLabel(_SavedModel, TextToLabel):
    """A SavedModel of text to a label."""

    names = ("label", "probability")

    def _row(self, labels, scores):
        return [Label(a.decode("utf-8"), float(b)) for a, b in zip(labels, scores, strict=True)]


class SavedTags(_SavedModel, TextToTags):
    """A SavedModel of text to tags."""

    signature = "serving_default"
    names = ("word", "tag", "probability")

    def _row(self, words, tags, scores):
        rows = zip(words, tags, scores, strict=True)
        return [Tag(a.decode("utf-8"), b.decode("utf-8"), float(c)) for a, b, c in rows if a]


class _SavedIds:
    """A SavedModel that takes ids and gives ids."""

    def __init__(self, model):
        self._model = model  # owns what the signatures read

    def run(self, source, details=False):
        signatures = self._model.signatures
        run = signatures["ids_details" if details and "ids_details" in signatures else "ids"]
        (spec,) = run.structured_input_signature[1].values()
        return {name: x.numpy() for name, x in run(source=tf.cast(source, spec.dtype)).items()}


class _Ids:
    """What is common to exports that take ids: the tokenizers' files are beside them."""

    def __init__(self, folder, about, model):
        super().__init__(**self.read_parts(folder, about))
        self._model = model

    def run(self, source, details=False):
        return self._model.run(source, details)


class IdsText(_Ids, TokensToTokens):
    """Text to text."""


class IdsContinuation(_Ids, PromptToTokens):
    """Prompt to text."""


class IdsCaption(_Ids, ImagesToTokens):
    """Image to text."""


class IdsLabel(_Ids, TokensToLabel):
    """Text to a label."""


class IdsTags(_Ids, TokensToTags):
    """Text to tags."""


SAVED = (SavedText, SavedCaption, SavedLabel, SavedTags)
IDS = {kind.gives: kind for kind in (IdsText, IdsContinuation, IdsCaption, IdsLabel, IdsTags)}


def load_exported(folder: str | Path) -> Texts:
    """Opens an export, which is then called as the task was, without the model's code.

    Args:
        folder: what a task's `export` wrote: a SavedModel's base path (its last version is taken)
            or one version of it, or a folder with `model.tflite`.

    Returns:
        An object that is called as the task is, with a string or an image or a list of them, and
        has the task's `generate`, `classify` or `tag`.

    Raises:
        ValueError: if the folder holds no export.
    """
    folder = export_in(folder)
    if (folder / FILE).is_file():
        return kind_in(folder, "tflite", lambda: LiteRT(folder / FILE))
    return _open_saved_model(folder)


def export_in(folder: str | Path) -> Path:
    """The folder of a TFLite file, or of the last version of a SavedModel.

    Raises:
        ValueError: if there is none.
    """
    folder = Path(folder)
    if (folder / FILE).is_file() or (folder / "saved_model.pb").is_file():
        return folder
    numbers = list_versions(folder) if folder.is_dir() else []
    if numbers and (folder / str(numbers[-1]) / "saved_model.pb").is_file():
        return folder / str(numbers[-1])
    raise ValueError(
        f"folder: expected a SavedModel, its base path, or a folder with {FILE}. "
        f"Received: {str(folder)!r}"
    )


def _open_saved_model(version):
    """A SavedModel says by what it takes and gives of which kind it is."""
    model = tf.saved_model.load(str(version))
    if "details" in model.signatures:
        best = model.signatures["serving_default"]
        taken, given = set(best.structured_input_signature[1]), set(best.structured_outputs)
        for kind in SAVED:
            if taken == {kind.served_input} and given == set(kind.names):
                return kind(model)
    elif "ids" in model.signatures and (version / EXTRA).is_dir():
        return kind_in(version / EXTRA, "saved_model", lambda: _SavedIds(model))
    raise ValueError(
        "folder: expected a SavedModel of this library, with a signature 'details' or 'ids'. "
        f"Received: {str(version)!r} with {sorted(model.signatures)}"
    )


def kind_in(folder: Path, export: str, model: Callable[[], Any]) -> Tokens:
    """What takes texts around something that takes ids.

    Args:
        folder: has `export.json` and the tokenizers.
        export: the kind of export that it should be.
        model: opens what has `run(source, details)`.

    Raises:
        ValueError: if it is another kind of export, or of another format.
    """
    about = read_json(folder / "export.json")
    kind = IDS.get(about.get("gives"))
    if (about.get("export"), about.get("format")) != (export, FORMAT) or kind is None:
        raise ValueError(
            f"folder: expected a {export} export of format {FORMAT}. "
            f"Received: {str(folder)!r} with {about}"
        )
    return kind(folder, about, model())
