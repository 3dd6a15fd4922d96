"""Tasks: complete pipelines from text or images to text, labels or tags."""

from keras_attention.utils.optional_imports import require_extra

require_extra("text", "keras_attention.tasks")

from keras_attention.tasks.captioner import Captioner, ImageAlignment
from keras_attention.tasks.corpus import predict_files
from keras_attention.tasks.generation_task import Alignment, GenerationTask
from keras_attention.tasks.labeling_task import LabelingTask
from keras_attention.tasks.loading import load_exported, load_task
from keras_attention.tasks.runner import ModelRunner
from keras_attention.tasks.task import Task
from keras_attention.tasks.text_classifier import TextClassifier
from keras_attention.tasks.text_generator import TextGenerator
from keras_attention.tasks.text_tagger import TextTagger
from keras_attention.tasks.translator import Translator
from keras_attention.text.postprocessors import GeneratedText, Label, Tag

__all__ = [
    "Alignment",
    "Captioner",
    "GeneratedText",
    "GenerationTask",
    "ImageAlignment",
    "Label",
    "LabelingTask",
    "ModelRunner",
    "Tag",
    "Task",
    "TextClassifier",
    "TextGenerator",
    "TextTagger",
    "Translator",
    "load_exported",
    "load_task",
    "predict_files",
]
