"""Classification of texts."""

from collections.abc import Sequence

from keras_attention.tasks.labeling_task import LabelingTask
from keras_attention.text.postprocessors import Label, LabelPostprocessor
from keras_attention.text.preprocessors import TextPreprocessor


class TextClassifier(LabelingTask):
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
        ValueError: If the tokenizer does not fit the model, the model does not return one logit for
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

    preprocessor_class = TextPreprocessor
    postprocessor_class = LabelPostprocessor
    logits_rank = 2

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
            ValueError: If `texts` is not a list.
        """
        return self.predict(texts, batch_size, progress)
