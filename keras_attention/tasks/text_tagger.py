"""Tagging of the words of texts."""

from collections.abc import Sequence

from keras_attention.tasks.labeling_task import LabelingTask
from keras_attention.text.postprocessors import Tag, TagPostprocessor
from keras_attention.text.preprocessors import WordPreprocessor


class TextTagger(LabelingTask):
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
        ValueError: If the tokenizer does not fit the model, the model does not return one logit for
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

    preprocessor_class = WordPreprocessor
    postprocessor_class = TagPostprocessor
    logits_rank = 3

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
            ValueError: If `texts` is not a list.
        """
        return self.predict(texts, batch_size, progress)
