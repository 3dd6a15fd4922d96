"""Comparable forms of the outputs of each kind of postprocessor, for the verification of exports.

Each class converts the outputs of the model and of signatures that take model inputs
(`predictions`), and of the signature `details`, which takes texts or images
(`details_predictions`), to `Predictions`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_attention.export.signatures import Predictions
from keras_attention.ops.ids import PAD
from keras_attention.text.postprocessors import (
    CaptionPostprocessor,
    LabelPostprocessor,
    TagPostprocessor,
    TextPostprocessor,
)
from keras_attention.text.preprocessors import token_names
from keras_attention.types import Batch


class TextComparison:
    """Comparison of generated texts."""

    recorded = ("ids", "scores")
    recorded_details = ("text", "score")

    def __init__(self, postprocessor: TextPostprocessor):
        self.postprocessor = postprocessor
        self._names = np.array(token_names(postprocessor.tokenizer))

    def predictions(self, outputs: dict[str, Any], batch: Batch) -> Predictions:
        """Converts `ids`, `scores` and `attention`."""
        ids, attention = outputs["ids"], outputs.get("attention")
        if attention is not None and isinstance(self.postprocessor, CaptionPostprocessor):
            attention = attention.reshape(*ids.shape, *self.postprocessor.grid_shape)
        texts = self.postprocessor.texts(ids, batch)
        return Predictions(texts, self._names[ids], outputs["scores"], attention)

    def details_predictions(self, outputs: dict[str, Any], batch: Batch) -> Predictions:
        """Converts the outputs of `details`."""
        return Predictions(
            outputs["text"], outputs["target_tokens"], outputs["score"], outputs["attention"]
        )

    def best_of_details(self, outputs: dict[str, Any], batch: Batch) -> dict[str, list]:
        """Returns what `serving_default` must return if `details` returned these outputs."""
        return {name: [row[0] for row in outputs[name]] for name in ("text", "score")}

    def text_outputs(self, outputs: dict[str, Any], batch: Batch) -> dict[str, Any]:
        """Returns what TFLite's `text` must return if `serving_default` returned these outputs."""
        texts = self.postprocessor.texts(outputs["ids"], batch)
        return {"text": texts, "score": outputs["scores"]}

    def decode(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """Returns outputs of TFLite's `text` with strings in place of bytes."""
        return {**outputs, "text": _strings(outputs["text"])}

    def results(self, outputs: dict[str, Any], batch: Batch) -> list:
        """Returns the best text of each input."""
        return [result[0].text for result in self.postprocessor(outputs, batch)]

    def metric(self, texts: Sequence[str], references: Sequence) -> dict[str, float]:
        """Scores texts against references.

        Args:
            texts: generated texts.
            references: one correct text for each, or a list of several.

        Returns:
            `exact_match` and `bleu`, out of 100.
        """
        from keras_attention.metrics import bleu

        several = [[row] if isinstance(row, str) else list(row) for row in references]
        matches = [text in row for text, row in zip(texts, several, strict=True)]
        return {"exact_match": 100 * float(np.mean(matches)), "bleu": bleu(texts, several).score}


class LabelComparison:
    """Comparison of labels."""

    recorded = ("probabilities",)
    recorded_details = ("label", "probability")

    def __init__(self, postprocessor: LabelPostprocessor):
        self.postprocessor = postprocessor
        self._labels = np.array(postprocessor.labels)

    def predictions(self, outputs: dict[str, Any], batch: Batch) -> Predictions:
        """Converts `probabilities` `(batch, labels)`."""
        probabilities = outputs["probabilities"]
        best = self._labels[probabilities.argmax(-1)][:, None].tolist()  # (B, 1)
        return Predictions(best, best, probabilities.max(-1, keepdims=True), None, probabilities)

    def details_predictions(self, outputs: dict[str, Any], batch: Batch) -> Predictions:
        """Converts the outputs of `details`."""
        best = [row[:1] for row in outputs["label"]]
        scores = [row[:1] for row in outputs["probability"]]
        return Predictions(best, best, scores, None, self._unsorted(outputs, "label"))

    def best_of_details(self, outputs: dict[str, Any], batch: Batch) -> dict[str, list]:
        """Returns what `serving_default` must return if `details` returned these outputs."""
        return {name: [row[0] for row in outputs[name]] for name in ("label", "probability")}

    def text_outputs(self, outputs: dict[str, Any], batch: Batch) -> dict[str, Any]:
        """Returns what TFLite's `text` must return if `serving_default` returned these outputs."""
        predictions = self.predictions(outputs, batch)
        return {"label": predictions.labels, "probability": predictions.scores}

    def decode(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """Returns the best label in outputs of TFLite's `text`, a string in place of bytes."""
        return {
            "label": _strings(outputs["label"][:, :1]),
            "probability": outputs["probability"][:, :1],
        }

    def results(self, outputs: dict[str, Any], batch: Batch) -> list:
        """Returns the most probable label of each input."""
        return [result[0].label for result in self.postprocessor(outputs, batch)]

    def metric(self, labels: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        """Returns the `accuracy` of labels, out of 100."""
        correct = [label == other for label, other in zip(labels, references, strict=True)]
        return {"accuracy": 100 * float(np.mean(correct))}

    def _unsorted(self, outputs, name):
        """Returns the probabilities `(..., labels)` of sorted labels in the labels' own order."""
        is_label = np.asarray(outputs[name])[..., None, :] == self._labels[:, None]
        probabilities = np.asarray(outputs["probability"])[..., None, :]
        return np.sum(np.where(is_label, probabilities, 0.0), -1)


class TagComparison(LabelComparison):
    """Comparison of the tags of tokens."""

    recorded_details = ("tag", "probability")

    def predictions(self, outputs: dict[str, Any], batch: Batch) -> Predictions:
        """Converts `probabilities` `(batch, length, tags)`."""
        mask = batch.model_inputs != PAD  # (B, S)
        probabilities = np.where(mask[..., None], outputs["probabilities"], 0.0)  # (B, S, tags)
        tags = np.where(mask, self._labels[probabilities.argmax(-1)], "").tolist()
        return Predictions(tags, tags, probabilities.max(-1), None, probabilities)

    def details_predictions(self, outputs: dict[str, Any], batch: Batch) -> Predictions:
        """Converts the outputs of `details`."""
        tags, scores = (
            [[sorted_tags[0] for sorted_tags in row] for row in outputs[name]]
            for name in ("tag", "probability")
        )
        return Predictions(tags, tags, scores, None, self._unsorted(outputs, "tag"))

    def best_of_details(self, outputs: dict[str, Any], batch: Batch) -> dict[str, list]:
        """Returns what `serving_default` must return if `details` returned these outputs."""
        starts = [np.flatnonzero(row) for row in outputs["begins_word"]]
        longest = max(map(len, starts), default=0)
        return {
            name: [
                [row[position][0] for position in positions]
                + [padding] * (longest - len(positions))
                for row, positions in zip(outputs[name], starts, strict=True)
            ]
            for name, padding in {"tag": "", "probability": 0.0}.items()
        }

    def results(self, outputs: dict[str, Any], batch: Batch) -> list:
        """Returns the tags of the words of each input."""
        results: list[Any] = self.postprocessor(outputs, batch)
        return [[tag.tag for tag in result] for result in results]

    def metric(  # type: ignore[override]  # one list per input
        self, tags: Sequence[list[str]], references: Sequence[list[str]]
    ) -> dict[str, float]:
        """Returns the `accuracy` of tags, out of 100.

        Example:

        >>> comparison = TagComparison(TagPostprocessor(["noun", "verb"]))
        >>> comparison.metric([["noun", "verb"], ["noun"]], [["noun", "noun"], ["noun", "verb"]])
        {'accuracy': 50.0}
        """
        rows = zip(tags, references, strict=True)  # words beyond the maximum length have no tag
        correct = sum(tag == other for row in rows for tag, other in zip(*row, strict=False))
        return {"accuracy": 100 * correct / max(1, sum(map(len, references)))}


Comparable = TextComparison | LabelComparison


def comparison_for(postprocessor: Any) -> Comparable:
    """Returns the comparison that suits a postprocessor."""
    if isinstance(postprocessor, TextPostprocessor):
        return TextComparison(postprocessor)
    if isinstance(postprocessor, TagPostprocessor):
        return TagComparison(postprocessor)
    return LabelComparison(postprocessor)


def _strings(rows):
    return [[text.decode("utf-8") for text in row] for row in rows]
