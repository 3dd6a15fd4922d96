"""Tasks: the whole road, text or an image in and an answer out."""

from pathlib import Path

from keras_attention.export import Label, Tag
from keras_attention.tasks.captioner import Captioner, ImageAlignment
from keras_attention.tasks.classifier import TextClassifier, TextTagger
from keras_attention.tasks.text_generator import TextGenerator
from keras_attention.tasks.translator import Alignment, GeneratedText, Translator
from keras_attention.utils.atomic_io import read_json

KINDS = {
    kind.__name__: kind
    for kind in (Captioner, TextClassifier, TextTagger, Translator, TextGenerator)
}


def load_task(
    folder: str | Path,
) -> Captioner | TextClassifier | TextTagger | Translator | TextGenerator:
    """Loads a saved task, of whatever kind it is.

    Args:
        folder: what its `save` wrote.

    Returns:
        The task, as its own `load` gives it.

    Raises:
        ValueError: if the folder holds no task of a known kind.
    """
    said = read_json(Path(folder) / "task.json").get("task")
    if said not in KINDS:
        raise ValueError(f"folder: expected a task of {sorted(KINDS)}. Received: {said!r}")
    return KINDS[said].load(folder)


__all__ = [
    "Alignment",
    "GeneratedText",
    "Captioner",
    "Label",
    "ImageAlignment",
    "Tag",
    "TextClassifier",
    "TextTagger",
    "Translator",
    "TextGenerator",
    "load_task",
]
