"""Tagging of the words of texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_attention.models import EncoderOnly
from keras_attention.tasks.runner import ModelRunner
from keras_attention.tasks.task import Task
from keras_attention.tasks.text_classifier import check_labeling_model, save_labeling_parts
from keras_attention.text import Tokenizer, load_tokenizer
from keras_attention.text.postprocessors import Tag, TagPostprocessor
from keras_attention.text.preprocessors import WordPreprocessor


class TextTagger(Task):
    """Assigns a tag to each word of a text.

    Words are separated by white space; a word has the tag of its first token. A string gives a list
    of `Tag(word, tag, probability)`, a list of strings gives a list of such lists. Train `model`
    with `fit` on `keras_attention.text.tagged_batches`; the task always uses its current weights.

    Args:
        model: from `keras_attention.models.tagger`; its vocabulary is the tokenizer's.
        source_tokenizer: encodes each word by itself.
        labels: names of the tags, in the order of the logits.
        max_source_length: longer texts are truncated, with a warning that counts them; the words
            beyond this length are not tagged.

    Raises:
        ValueError: if the tokenizer does not fit the model, the model does not return one logit for
            each tag and token, or a tag is repeated.

    Example:

    >>> from keras_attention.models import tagger
    >>> from keras_attention.text import CharacterTokenizer
    >>> tokenizer = CharacterTokenizer.train(["abc"])
    >>> model = tagger(tokenizer.vocabulary_size, num_classes=2, num_layers=1)
    >>> task = TextTagger(model, tokenizer, ["noun", "verb"])
    >>> [tag.word for tag in task("ab  c")]
    ['ab', 'c']
    """

    preprocessor: WordPreprocessor
    postprocessor: TagPostprocessor

    def __init__(
        self,
        model: EncoderOnly,
        source_tokenizer: Tokenizer,
        labels: Sequence[str],
        max_source_length: int = 128,
    ):
        super().__init__(
            WordPreprocessor(source_tokenizer, max_source_length),
            ModelRunner(model),
            TagPostprocessor(labels),
        )

    @property
    def source_tokenizer(self) -> Tokenizer:
        """Tokenizer of the words."""
        return self.preprocessor.tokenizer

    @property
    def max_source_length(self) -> int:
        """Maximum number of tokens of a text, `[END]` included."""
        return self.preprocessor.max_length

    @property
    def labels(self) -> list[str]:
        """Names of the tags, in the order of the logits."""
        return self.postprocessor.labels

    def tag(
        self, texts: Sequence[str], batch_size: int = 32, progress: bool = False
    ) -> list[list[Tag]]:
        """Tags the words of each text.

        Args:
            texts: any number of strings, empty ones too.
            batch_size: number of texts that are run at once; texts of similar length are run
                together.
            progress: whether to show a progress bar.

        Returns:
            For each text its words with their tags, without the words beyond `max_source_length`.

        Raises:
            ValueError: if `texts` is not a list.
        """
        return self.predict(texts, batch_size, progress)

    @property
    def metadata(self) -> dict[str, Any]:
        """The labels."""
        return {"labels": self.labels}

    def check_model(self, model: EncoderOnly) -> None:
        check_labeling_model(self, model, rank=3)

    def save_parts(self, folder: Path) -> dict[str, Any]:
        return save_labeling_parts(self, folder)

    @classmethod
    def load_parts(
        cls, folder: Path, config: dict[str, Any]
    ) -> tuple[WordPreprocessor, TagPostprocessor]:
        tokenizer = load_tokenizer(folder / "source")
        preprocessor = WordPreprocessor(tokenizer, config["max_source_length"])
        return preprocessor, TagPostprocessor(config["labels"])
