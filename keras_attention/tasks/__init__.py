"""Tasks: the whole road, text in and an answer out."""

from keras_attention.export import Label, Tag
from keras_attention.tasks.classifier import TextClassifier, TextTagger
from keras_attention.tasks.translator import Alignment, Answer, Translator
from keras_attention.tasks.writer import Writer

__all__ = [
    "Alignment",
    "Answer",
    "Label",
    "Tag",
    "TextClassifier",
    "TextTagger",
    "Translator",
    "Writer",
]
