"""Tasks: the whole road, text in and text out."""

from keras_attention.tasks.translator import Alignment, Answer, Translator

__all__ = ["Alignment", "Answer", "Translator"]
