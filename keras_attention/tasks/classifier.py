"""Tokenizer, encoder and labels as one thing that is called with text."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_attention.export import TokensToLabel, TokensToTags
from keras_attention.models import EncoderOnly
from keras_attention.tasks.task import Task, check_vocabulary
from keras_attention.text import Tokenizer

__all__ = ["TextClassifier", "TextTagger"]


class _Labels(Task):
    """What both tasks have: labels, and a graph from ids to their probabilities.

    Args:
        model: gives one logit for each label.
        source_tokenizer: for the texts; its vocabulary is as large as the model's.
        labels: the names of the classes or tags, in the order of the logits.
        max_source_length: longer texts are cut, with a warning that counts them.

    Raises:
        ValueError: if the tokenizer's vocabulary is not the model's, the model gives something
            else, or a label is there twice.
    """

    rank: int  # of the logits

    def __init__(
        self,
        model: EncoderOnly,
        source_tokenizer: Tokenizer,
        labels: Sequence[str],
        max_source_length: int = 128,
    ):
        check_vocabulary("source_tokenizer", source_tokenizer, model.encoder.vocabulary_size)
        super().__init__(source_tokenizer, labels, max_source_length)
        expected = (*(None,) * (self.rank - 1), len(self.labels))
        if model.output_shape != expected:
            raise ValueError(
                f"model: expected logits {expected} for {len(self.labels)} labels. "
                f"Received: {model.output_shape}"
            )
        self.model = model
        probabilities = ops.softmax(ops.cast(model.output, "float32"))
        self._graph = keras.Model(model.input, {"probabilities": probabilities})

    def run(self, source: np.ndarray, details: bool = False) -> dict[str, np.ndarray]:
        """Source ids to `probabilities`."""
        return self._graph.predict_on_batch(source)

    def graphs(self):
        return {"serving_default": self._graph}

    def about(self):
        return {"labels": self.labels}


class TextClassifier(_Labels, TokensToLabel):
    """Says what a text is.

    Train `model` with `fit` on `keras_attention.text.labeled_batches`; the task sees its weights
    at every call. A string gives a label, a list gives a list; `classify` gives all labels with
    their probabilities.

    Args:
        model: from `keras_attention.models.classifier`; its vocabulary is the tokenizer's.
        source_tokenizer: for the texts.
        labels: the names of the classes, in the order of the logits.
        max_source_length: longer texts are cut, with a warning that counts them.

    Raises:
        ValueError: if the tokenizer's vocabulary is not the model's, the model gives something
            else than a logit a label, or a label is there twice.

    Example:

    >>> from keras_attention.models import classifier
    >>> from keras_attention.text import CharacterTokenizer
    >>> letters = CharacterTokenizer.train(["abc"])
    >>> model = classifier(letters.vocabulary_size, num_classes=2, num_layers=1)
    >>> task = TextClassifier(model, letters, ["short", "long"])
    >>> task("ab") in task.labels
    True
    >>> [len(labels) for labels in task.classify(["ab", ""])]
    [2, 2]
    """

    rank = 2


class TextTagger(_Labels, TokensToTags):
    """Says what each word of a text is.

    Train `model` with `fit` on `keras_attention.text.tagged_batches`. Words are what stands between
    white space; a word has the tag of its first token. A string gives a list of
    `Tag(word, tag, probability)`, a list of strings a list of such lists.

    Args:
        model: from `keras_attention.models.tagger`; its vocabulary is the tokenizer's.
        source_tokenizer: for the words.
        labels: the names of the tags, in the order of the logits.
        max_source_length: longer texts are cut, with a warning that counts them, and words beyond
            are not tagged.

    Raises:
        ValueError: if the tokenizer's vocabulary is not the model's, the model gives something
            else than a logit a tag for each token, or a tag is there twice.

    Example:

    >>> from keras_attention.models import tagger
    >>> from keras_attention.text import CharacterTokenizer
    >>> letters = CharacterTokenizer.train(["abc"])
    >>> model = tagger(letters.vocabulary_size, num_classes=2, num_layers=1)
    >>> task = TextTagger(model, letters, ["noun", "verb"])
    >>> [tag.word for tag in task("ab  c")]
    ['ab', 'c']
    """

    rank = 3
