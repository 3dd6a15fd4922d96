"""What an export was asked and what it answered, kept beside it for `verify`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_attention.export.saved_model.verify import plain
from keras_attention.export.verification.compare import Output

TRIALS = "trials.json"
MOST = 8


def write_trials(
    task: Any, folder: Path, trials: Sequence, outputs: Sequence[Output], signature: str
) -> None:
    """Writes the first of them to `trials.json`.

    Args:
        task: what was exported.
        folder: gets the file.
        trials: what it was asked; images are kept in the size that the model reads.
        outputs: what it answered to each alone, and maybe more.
        signature: by which.
    """
    trials = trials[:MOST]
    said = {
        "signature": signature,
        "inputs": task.kept(trials),
        "texts": [each.texts for each in outputs[: len(trials)]],
        "scores": [np.asarray(each.scores).tolist() for each in outputs[: len(trials)]],
    }
    text = json.dumps(said, ensure_ascii=False, indent=1, default=plain)
    (folder / TRIALS).write_text(text, encoding="utf-8")
