"""State of an interrupted training, and the check that another call of `fit` may resume it."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from keras_attention.tasks.translator import Translator
from keras_attention.utils.atomic_io import read_json, write_json

SETTINGS_FILE = "settings.json"


def resume_folder(folder: str | Path) -> Path:
    """Returns the hidden folder that holds the state of a training until it is finished.

    Args:
        folder: Folder of the task that `fit` writes.
    """
    folder = Path(folder).absolute()
    return folder.with_name(f".{folder.name}.unfinished")


def start_or_resume(state_folder: Path, settings: dict) -> bool:
    """Returns whether an interrupted training is resumed; otherwise prepares the folder for one.

    Args:
        state_folder: `resume_folder` of the task.
        settings: Options and data of the training.

    Raises:
        ValueError: If the interrupted training had other settings.
    """
    if (state_folder / SETTINGS_FILE).is_file():
        saved = read_json(state_folder / SETTINGS_FILE)
        different = [name for name in settings if settings[name] != saved.get(name)]
        if different:
            raise ValueError(
                "An interrupted training is resumed with the settings it began with. To start "
                f"anew, delete {state_folder}. Received: different {', '.join(different)}"
            )
        return True
    shutil.rmtree(state_folder, ignore_errors=True)
    state_folder.mkdir(parents=True)
    write_json(state_folder / SETTINGS_FILE, settings)
    return False


def fingerprints(task: Translator, pairs: Sequence, validation: Sequence) -> dict:
    """Returns shapes and hashes that identify the model and the data of a training."""
    tokenizers = task.source_tokenizer, task.target_tokenizer
    return {
        "weight shapes": [list(variable.shape) for variable in task.model.weights],
        "pairs": _digest(pairs),
        "validation pairs": _digest(validation),
        "tokenizers": _digest([(each.vocabulary, each.get_config()) for each in tokenizers]),
    }


def _digest(items: Sequence) -> str:
    return hashlib.sha256(repr(list(items)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
