"""Classification of texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_attention.models import EncoderOnly
from keras_attention.tasks.runner import ModelRunner
from keras_attention.tasks.task import Task, check_vocabulary_size
from keras_attention.text import Tokenizer, load_tokenizer
from keras_attention.text.postprocessors import Label, LabelPostprocessor
from keras_attention.text.preprocessors import TextPreprocessor


class TextClassifier(Task):
    """Assigns a label to each text.

    A string gives a label, a list gives a list; `classify` returns all labels with their
    probabilities. Train `model` with `fit` on `keras_attention.text.labeled_batches`; the task
    always uses its current weights.

    Args:
        model: from `keras_attention.models.classifier`; its vocabulary is the tokenizer's.
        source_tokenizer: encodes the texts.
        labels: names of the classes, in the order of the logits.
        max_source_length: longer texts are truncated, with a warning that counts them.

    Raises:
        ValueError: if the tokenizer does not fit the model, the model does not return one logit for
            each label, or a label is repeated.

    Example:

    >>> from keras_attention.models import classifier
    >>> from keras_attention.text import CharacterTokenizer
    >>> tokenizer = CharacterTokenizer.train(["abc"])
    >>> model = classifier(tokenizer.vocabulary_size, num_classes=2, num_layers=1)
    >>> task = TextClassifier(model, tokenizer, ["short", "long"])
    >>> task("ab") in task.labels
    True
    >>> [len(labels) for labels in task.classify(["ab", ""])]
    [2, 2]
    """

    preprocessor: TextPreprocessor
    postprocessor: LabelPostprocessor

    def __init__(
        self,
        model: EncoderOnly,
        source_tokenizer: Tokenizer,
        labels: Sequence[str],
        max_source_length: int = 128,
    ):
        super().__init__(
            TextPreprocessor(source_tokenizer, max_source_length),
            ModelRunner(model),
            LabelPostprocessor(labels),
        )

    @property
    def source_tokenizer(self) -> Tokenizer:
        """Tokenizer of the texts."""
        return self.preprocessor.tokenizer

    @property
    def max_source_length(self) -> int:
        """Maximum number of tokens of a text, `[END]` included."""
        return self.preprocessor.max_length

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of the logits."""
        return self.postprocessor.labels

    def classify(
        self, texts: Sequence[str], batch_size: int = 32, progress: bool = False
    ) -> list[list[Label]]:
        """Returns the probabilities of all labels.

        Args:
            texts: any number of strings, empty ones too.
            batch_size: number of texts that are run at once; texts of similar length are run
                together.
            progress: whether to show a progress bar.

        Returns:
            For each text all labels, the most probable first.

        Raises:
            ValueError: if `texts` is not a list.
        """
        return self.predict(texts, batch_size, progress)

    @property
    def metadata(self) -> dict[str, Any]:
        """The labels."""
        return {"labels": self.labels}

    def check_model(self, model: EncoderOnly) -> None:
        check_labeling_model(self, model, rank=2)

    def save_parts(self, folder: Path) -> dict[str, Any]:
        return save_labeling_parts(self, folder)

    @classmethod
    def load_parts(
        cls, folder: Path, config: dict[str, Any]
    ) -> tuple[TextPreprocessor, LabelPostprocessor]:
        tokenizer = load_tokenizer(folder / "source")
        preprocessor = TextPreprocessor(tokenizer, config["max_source_length"])
        return preprocessor, LabelPostprocessor(config["labels"])


def check_labeling_model(task: Any, model: keras.Model, rank: int) -> None:
    """Raises a `ValueError` unless the model fits the tokenizer and the labels.

    Args:
        task: has `source_tokenizer` and `labels`.
        model: the model.
        rank: of the logits.
    """
    check_vocabulary_size("source_tokenizer", task.source_tokenizer, model.encoder.vocabulary_size)
    expected = (*(None,) * (rank - 1), len(task.labels))
    if model.output_shape != expected:
        raise ValueError(
            f"`model` must return logits of shape {expected} for {len(task.labels)} labels. "
            f"Received: {model.output_shape}"
        )


def save_labeling_parts(task: Any, folder: Path) -> dict[str, Any]:
    """Writes the tokenizer; returns the labels and the maximum length."""
    task.source_tokenizer.save(folder / "source")
    return {"labels": task.labels, "max_source_length": task.max_source_length}
