"""Tasks: the whole road, text or an image in and an answer out."""

from keras_attention.export import Label, Tag
from keras_attention.tasks.captioner import Captioner, Looked
from keras_attention.tasks.classifier import TextClassifier, TextTagger
from keras_attention.tasks.translator import Alignment, Answer, Translator
from keras_attention.tasks.writer import Writer

__all__ = [
    "Alignment",
    "Answer",
    "Captioner",
    "Label",
    "Looked",
    "Tag",
    "TextClassifier",
    "TextTagger",
    "Translator",
    "Writer",
]
