"""Base of the tasks that assign labels to texts or to their words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_attention.models import EncoderOnly
from keras_attention.tasks.runner import ModelRunner
from keras_attention.tasks.task import Task, check_vocabulary_size
from keras_attention.text import Tokenizer, load_tokenizer
from keras_attention.text.postprocessors import LabelPostprocessor, TagPostprocessor
from keras_attention.text.preprocessors import TextPreprocessor, WordPreprocessor


class LabelingTask(Task):
    """A task whose model returns a logit for each of a list of labels.

    Args:
        model: from `keras_attention.models`; its vocabulary is the tokenizer's.
        source_tokenizer: encodes the texts.
        labels: names of the labels, in the order of the logits.
        max_source_length: longer texts are truncated, with a warning that counts them.

    Attributes:
        preprocessor_class: class of the preprocessor, made from a tokenizer and a maximum length.
        postprocessor_class: class of the postprocessor, made from the labels.
        logits_rank: rank of the model's output: 2 for a label of a text, 3 for one of each token.
    """

    preprocessor: TextPreprocessor | WordPreprocessor
    postprocessor: LabelPostprocessor | TagPostprocessor

    preprocessor_class: type[TextPreprocessor] | type[WordPreprocessor]
    postprocessor_class: type[LabelPostprocessor] | type[TagPostprocessor]
    logits_rank: int

    def __init__(
        self,
        model: EncoderOnly,
        source_tokenizer: Tokenizer,
        labels: Sequence[str],
        max_source_length: int = 128,
    ):
        super().__init__(
            self.preprocessor_class(source_tokenizer, max_source_length),
            ModelRunner(model),
            self.postprocessor_class(labels),
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
        """Names of the labels, in the order of the logits."""
        return self.postprocessor.labels

    @property
    def metadata(self) -> dict[str, Any]:
        """The labels."""
        return {"labels": self.labels}

    def check_model(self, model: EncoderOnly) -> None:
        size = model.encoder.vocabulary_size
        check_vocabulary_size("source_tokenizer", self.source_tokenizer, size)
        expected = (*(None,) * (self.logits_rank - 1), len(self.labels))
        if model.output_shape != expected:
            raise ValueError(
                f"`model` must return logits of shape {expected} for {len(self.labels)} labels. "
                f"Received: {model.output_shape}"
            )

    def save_parts(self, folder: Path) -> dict[str, Any]:
        self.source_tokenizer.save(folder / "source")
        return {"labels": self.labels, "max_source_length": self.max_source_length}

    @classmethod
    def load_parts(cls, folder: Path, config: dict[str, Any]) -> tuple:
        tokenizer = load_tokenizer(folder / "source")
        preprocessor = cls.preprocessor_class(tokenizer, config["max_source_length"])
        return preprocessor, cls.postprocessor_class(config["labels"])
