"""Postprocessors of the tasks: model outputs to texts, labels or tags, eagerly or in a graph.

Called eagerly, a postprocessor returns one result for each input. In the graph of an exported
signature `best` and `details` return dictionaries of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from keras_attention.ops.ids import PAD
from keras_attention.text.preprocessors import token_names, with_tflite_tokenizer
from keras_attention.text.tokenizer import Tokenizer
from keras_attention.types import Batch
from keras_attention.utils.lazy_tensorflow import tf
from keras_attention.utils.validation import check_texts


class GeneratedText(NamedTuple):
    """A generated text and its score: its log-probability, with the strategy's penalties."""

    text: str
    score: float


class Label(NamedTuple):
    """A label and its probability."""

    label: str
    probability: float


class Tag(NamedTuple):
    """A word, its tag and the tag's probability."""

    word: str
    tag: str
    probability: float


class TextPostprocessor:
    """Converts generated ids to `GeneratedText`s, best first.

    Args:
        tokenizer: decodes the ids.
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer

    @property
    def tokenizers(self) -> tuple[Tokenizer, ...]:
        """The tokenizers."""
        return (self.tokenizer,)

    def for_tflite(self) -> Self | None:
        """Returns a postprocessor of operations that TFLite has, `None` if TFLite lacks some."""
        return with_tflite_tokenizer(self)

    def __call__(self, outputs: dict[str, np.ndarray], batch: Batch) -> list[list[GeneratedText]]:
        """Converts the outputs of one batch.

        Args:
            outputs: `ids` `(batch, n, length)` and `scores` `(batch, n)`.
            batch: from the preprocessor.

        Returns:
            For each input its `n` hypotheses.
        """
        return [
            [GeneratedText(text, float(score)) for text, score in zip(*row, strict=True)]
            for row in zip(self.texts(outputs["ids"], batch), outputs["scores"], strict=True)
        ]

    def summarize(self, result: list[GeneratedText]) -> str:
        """Returns the best text."""
        return result[0].text

    def detokenize(self, ids: Any, batch: Batch) -> tf.Tensor:
        """Decodes ids `(batch, n, length)` to strings `(batch, n)`, in a graph."""
        rows = tf.reshape(ids, (-1, ids.shape[-1]))  # (B * N, L)
        return tf.reshape(self.tokenizer.detokenize(rows), tf.shape(ids)[:2])

    def texts(self, ids: np.ndarray, batch: Batch) -> list[list[str]]:
        """Decodes ids `(batch, n, length)` to lists of strings."""
        batch_size, n, length = ids.shape
        texts = self.tokenizer.detokenize_to_texts(ids.reshape(-1, length))
        return [texts[row * n : (row + 1) * n] for row in range(batch_size)]

    def best(self, outputs: dict[str, tf.Tensor], batch: Batch) -> dict[str, tf.Tensor]:
        """Returns `text` and `score` `(batch,)` of the best hypothesis, in a graph."""
        text = self.detokenize(outputs["ids"][:, :1], batch)  # (B, 1)
        return {"text": text[:, 0], "score": outputs["scores"][:, 0]}

    def all_results(self, outputs: dict[str, tf.Tensor], batch: Batch) -> dict[str, tf.Tensor]:
        """Returns `text` and `score` `(batch, n)` of all hypotheses, in a graph."""
        return {"text": self.detokenize(outputs["ids"], batch), "score": outputs["scores"]}

    def details(self, outputs: dict[str, tf.Tensor], batch: Batch) -> dict[str, tf.Tensor]:
        """Returns all hypotheses with their tokens and attention weights, in a graph."""
        return {
            **self.all_results(outputs, batch),
            "target_tokens": tf.gather(token_names(self.tokenizer), outputs["ids"]),
            "attention": tf.cast(outputs["attention"], "float32"),
        }


class ContinuationPostprocessor(TextPostprocessor):
    """Converts generated ids to the texts that continue the prompts of the batch.

    A text begins with a space where a new word begins, so that prompt and text can be joined.
    """

    def for_tflite(self) -> None:
        return None

    def detokenize(self, ids: Any, batch: Batch) -> tf.Tensor:
        # Whether a space precedes a token depends on the tokens before it.
        prompts = tf.repeat(batch.model_inputs, tf.shape(ids)[1], axis=0)  # (B * N, S)
        rows = tf.reshape(ids, (-1, ids.shape[-1]))  # (B * N, L)
        prompt = self.tokenizer.detokenize(prompts)
        whole = self.tokenizer.detokenize(tf.concat([prompts, rows], axis=1))
        start = tf.strings.length(prompt)
        text = tf.strings.substr(whole, start, tf.strings.length(whole) - start)
        return tf.reshape(text, tf.shape(ids)[:2])

    def texts(self, ids: np.ndarray, batch: Batch) -> list[list[str]]:
        batch_size, n, _ = ids.shape
        inputs = np.asarray(batch.model_inputs)
        starts = [len(text) for text in self.tokenizer.detokenize_to_texts(inputs)]
        prompts = np.broadcast_to(inputs[:, None], (batch_size, n, inputs.shape[1]))
        whole = super().texts(np.concatenate([prompts, ids], axis=2), batch)
        return [[text[start:] for text in row] for row, start in zip(whole, starts, strict=True)]


class CaptionPostprocessor(TextPostprocessor):
    """Converts generated ids to captions, with attention weights over the rows and columns.

    Args:
        tokenizer: decodes the ids.
        grid_shape: rows and columns of the image encoder's features.
    """

    def __init__(self, tokenizer: Tokenizer, grid_shape: Sequence[int]):
        super().__init__(tokenizer)
        rows, columns = grid_shape
        self.grid_shape = (rows, columns)

    def details(self, outputs: dict[str, tf.Tensor], batch: Batch) -> dict[str, tf.Tensor]:
        details = super().details(outputs, batch)
        shape = tf.concat([tf.shape(outputs["ids"]), self.grid_shape], axis=0)
        return {**details, "attention": tf.reshape(details["attention"], shape)}


class LabelPostprocessor:
    """Converts class probabilities to `Label`s, the most probable first.

    Args:
        labels: names of the classes, in the order of the logits.

    Raises:
        ValueError: If the labels are not different strings.
    """

    tokenizers = ()

    def __init__(self, labels: Sequence[str]):
        check_texts("labels", labels)
        labels = list(labels)
        if len(set(labels)) != len(labels) or not all(isinstance(label, str) for label in labels):
            raise ValueError(f"`labels` must be different strings. Received: labels={labels}")
        self.labels = labels

    def for_tflite(self) -> Self | None:
        """Returns the postprocessor, whose operations TFLite has."""
        return self

    def __call__(self, outputs: dict[str, np.ndarray], batch: Batch) -> list[list[Label]]:
        """Converts `probabilities` `(batch, labels)` to all labels of each input."""
        return [
            sorted(
                (Label(label, float(p)) for label, p in zip(self.labels, row, strict=True)),
                key=lambda label: -label.probability,
            )
            for row in outputs["probabilities"]
        ]

    def summarize(self, result: list[Label]) -> str:
        """Returns the most probable label."""
        return result[0].label

    def details(self, outputs: dict[str, tf.Tensor], batch: Batch) -> dict[str, tf.Tensor]:
        """Returns `label` and `probability` `(batch, labels)`, sorted, in a graph."""
        labels, probabilities = self.sort(outputs["probabilities"])
        return {"label": labels, "probability": probabilities}

    def all_results(self, outputs: dict[str, tf.Tensor], batch: Batch) -> dict[str, tf.Tensor]:
        """Returns the outputs of `details`."""
        return self.details(outputs, batch)

    def best(self, outputs: dict[str, tf.Tensor], batch: Batch) -> dict[str, tf.Tensor]:
        """Returns `label` and `probability` `(batch,)` of the most probable label, in a graph."""
        return {name: x[:, 0] for name, x in self.details(outputs, batch).items()}

    def sort(self, probabilities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Sorts labels by their probabilities `(..., labels)`, in a graph.

        Returns:
            Labels and probabilities `(..., labels)`, the most probable first.
        """
        sorted_probabilities, order = tf.math.top_k(probabilities, len(self.labels))
        return tf.gather(tf.constant(self.labels), order), sorted_probabilities


class TagPostprocessor(LabelPostprocessor):
    """Converts tag probabilities of tokens to `Tag`s of words: a word has its first token's tag.

    Args:
        labels: names of the tags, in the order of the logits.
    """

    def for_tflite(self) -> None:
        return None

    # Results are tags in place of labels.
    def __call__(  # type: ignore[override]
        self, outputs: dict[str, np.ndarray], batch: Batch
    ) -> list[list[Tag]]:
        """Converts `probabilities` `(batch, length, tags)` to the tagged words of each input."""
        rows = zip(outputs["probabilities"], batch.words, batch.word_starts, strict=True)
        return [self._tags(*map(np.asarray, row)) for row in rows]

    def _tags(self, probabilities, words, word_starts):
        positions = np.flatnonzero(word_starts)
        best = probabilities[positions].argmax(-1)
        words_tags = zip(words, best, positions, strict=False)  # the last words may be truncated
        return [
            Tag(word.decode("utf-8"), self.labels[tag], float(probabilities[position, tag]))
            for word, tag, position in words_tags
        ]

    def summarize(self, result: list[Tag]) -> list[Tag]:  # type: ignore[override]
        """Returns all tagged words."""
        return result

    def details(self, outputs: dict[str, tf.Tensor], batch: Batch) -> dict[str, tf.Tensor]:
        """Returns `tag` and `probability` `(batch, length, tags)`, sorted, in a graph."""
        tags, probabilities = self.sort(outputs["probabilities"])  # (B, S, tags)
        mask = tf.expand_dims(batch.model_inputs != PAD, -1)  # (B, S, 1)
        return {
            "tag": tf.where(mask, tags, ""),
            "probability": tf.where(mask, probabilities, 0.0),
        }

    def best(self, outputs: dict[str, tf.Tensor], batch: Batch) -> dict[str, tf.Tensor]:
        """Returns `word`, `tag` and `probability` `(batch, words)`, in a graph."""
        details, starts = self.details(outputs, batch), batch.word_starts
        tags = tf.ragged.boolean_mask(details["tag"][..., 0], starts)  # (B, words)
        probabilities = tf.ragged.boolean_mask(details["probability"][..., 0], starts)
        words = tf.gather(batch.words, tf.ragged.range(tags.row_lengths()), batch_dims=1)
        return {
            "word": words.to_tensor(""),
            "tag": tags.to_tensor(""),
            "probability": probabilities.to_tensor(0.0),
        }
