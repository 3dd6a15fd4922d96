"""Complete trainings: from text files to a saved task."""

from keras_attention.utils.optional_imports import require_extra

require_extra("text", "keras_attention.recipes")
require_extra("metrics", "keras_attention.recipes")

from keras_attention.recipes.candidates import CandidateBatches
from keras_attention.recipes.checkpoint import completed_epochs
from keras_attention.recipes.fit import fit
from keras_attention.recipes.resume import resume_folder
from keras_attention.recipes.save_best import SaveBestTask
from keras_attention.recipes.training_config import TrainingConfig

__all__ = [
    "CandidateBatches",
    "SaveBestTask",
    "TrainingConfig",
    "completed_epochs",
    "fit",
    "resume_folder",
]
