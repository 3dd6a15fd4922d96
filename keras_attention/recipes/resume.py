"""Where a training that was cut off is kept, and whether another may go on with it."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from keras_attention.tasks.translator import Translator
from keras_attention.utils.atomic_io import read_json, write_json

SETTINGS_FILE = "settings.json"


def unfinished(folder: str | Path) -> Path:
    """Where `fit` keeps what it needs to go on with the training of `folder`."""
    folder = Path(folder).absolute()
    return folder.with_name(f".{folder.name}.unfinished")


def begin_or_resume(place: Path, settings: dict) -> bool:
    """Whether there is a training to go on with; it must have had the same settings.

    Raises:
        ValueError: if it had others.
    """
    if (place / SETTINGS_FILE).is_file():
        before = read_json(place / SETTINGS_FILE)
        other = [name for name in settings if settings[name] != before.get(name)]
        if other:
            raise ValueError(
                f"Expected the settings of the training that was cut off and is kept in {place} "
                f"(delete that to start anew). Received: other {', '.join(other)}"
            )
        return True
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    write_json(place / SETTINGS_FILE, settings)
    return False


def fingerprints(task: Translator, pairs: Sequence, validation: Sequence) -> dict:
    """What tells one training from another, beside numbers."""
    tokenizers = task.source_tokenizer, task.target_tokenizer
    return {
        "shapes of the weights": [list(variable.shape) for variable in task.model.weights],
        "pairs": _digest(pairs),
        "validation pairs": _digest(validation),
        "tokenizers": _digest([(each.vocabulary, each.get_config()) for each in tokenizers]),
    }


def _digest(items):
    return hashlib.sha256(repr(list(items)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
