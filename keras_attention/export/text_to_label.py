"""Text to a label: the classes by their probabilities."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_attention.export.texts import Texts, Tokens, token_names
from keras_attention.export.verification.compare import Output
from keras_attention.text import Tokenizer


class Label(NamedTuple):
    """A label and how probable it is."""

    label: str
    probability: float


class TextToLabel(Texts):
    """Called with a string or a list of strings, it gives a label or a list of labels."""

    def classify(
        self, texts: Sequence[str], batch_size: int = 32, progress: bool = False
    ) -> list[list[Label]]:
        """Says how probable each label is.

        Args:
            texts: any number of strings, empty ones too.
            batch_size: texts read at once; texts of about one length go together.
            progress: whether to show a bar.

        Returns:
            For each text all labels, the most probable first.

        Raises:
            ValueError: if `texts` is one string.
        """
        return self._answers(texts, batch_size, progress)

    def _short(self, answer):
        return answer[0].label


class TokensToLabel(Tokens, TextToLabel):
    """Text to a label around something that takes ids. A subclass gives `run`.

    Args:
        source_tokenizer: for the texts.
        labels: the names of the classes, in the order of the logits.
        max_source_length: longer texts are cut, with a warning that counts them.

    Raises:
        ValueError: if a label is there twice.
    """

    gives = "label"
    settings = ("labels", "max_source_length")

    def __init__(self, source_tokenizer: Tokenizer, labels: Sequence[str], max_source_length: int):
        self.source_tokenizer = source_tokenizer
        self.labels = check_labels(labels)
        self.max_source_length = max_source_length

    def _answer(self, source, found):
        return [
            sorted(
                (Label(label, float(p)) for label, p in zip(self.labels, row, strict=True)),
                key=lambda each: -each.probability,
            )
            for row in found["probabilities"]
        ]

    def output(self, source: np.ndarray, found: dict) -> Output:
        """What was found for source ids, to be compared."""
        probabilities = found["probabilities"]
        best = np.array(self.labels)[probabilities.argmax(-1)][:, None].tolist()  # (B, 1)
        return Output(best, best, probabilities.max(-1, keepdims=True), None, probabilities)

    def served(self, graphs: dict[str, Callable]) -> dict[str, Callable]:
        """The SavedModel's signatures from the graphs on ids: text to dictionaries."""
        names = tf.constant(token_names(self.source_tokenizer))

        def details(text):
            source = self.encode_served(text)
            labels, probabilities = by_probability(
                self.labels, graphs["serving_default"](source)["probabilities"]
            )
            return {
                "label": labels,
                "probability": probabilities,
                "source_tokens": tf.gather(names, source),
            }

        def serve(text):
            found = details(text)
            return {name: found[name][:, 0] for name in ("label", "probability")}

        return {"serving_default": serve, "details": details}

    def served_output(self, details: dict) -> Output:
        """What the signature `details` gave, to be compared."""
        best = [row[:1] for row in details["label"]]
        scores = [row[:1] for row in details["probability"]]
        return Output(best, best, scores, None, in_order(self.labels, details, "label"))

    def best(self, details: dict) -> dict:
        """What `serving_default` should give where `details` gave this."""
        return {name: [row[0] for row in details[name]] for name in ("label", "probability")}


def check_labels(labels: Sequence[str]) -> list[str]:
    """The labels as a list of different strings."""
    labels = list(labels)
    if len(set(labels)) != len(labels) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"labels: expected different strings. Received: labels={labels}")
    return labels


def by_probability(labels: list[str], probabilities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """In a graph: labels and probabilities `(..., labels)`, the most probable first."""
    sorted_probabilities, order = tf.math.top_k(probabilities, len(labels))
    return tf.gather(tf.constant(labels), order), sorted_probabilities


def in_order(labels: list[str], details: dict, name: str) -> np.ndarray:
    """Undoes `by_probability`: the probabilities `(..., labels)` in the order of the labels."""
    there = np.asarray(details[name])[..., None, :] == np.array(labels)[:, None]
    return np.sum(np.where(there, np.asarray(details["probability"])[..., None, :], 0.0), -1)
