"""Text to a tag for each word: a word has the tag of its first token."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_attention.export.text_to_label import by_probability, check_labels, in_order
from keras_attention.export.texts import Texts, Tokens, token_names
from keras_attention.export.verification.compare import Output
from keras_attention.ops.ids import PAD
from keras_attention.text import Tokenizer, encode_words, split_words


class Tag(NamedTuple):
    """A word, its tag, and how probable the tag is."""

    word: str
    tag: str
    probability: float


class TextToTags(Texts):
    """Called with a string or a list of strings, it gives a list of tagged words for each."""

    def tag(
        self, texts: Sequence[str], batch_size: int = 32, progress: bool = False
    ) -> list[list[Tag]]:
        """Tags the words of each text: what stands between white space.

        Args:
            texts: any number of strings, empty ones too.
            batch_size: texts read at once; texts of about one length go together.
            progress: whether to show a bar.

        Returns:
            For each text its words with their tags; words beyond the longest text are left out.

        Raises:
            ValueError: if `texts` is one string.
        """
        return self._answers(texts, batch_size, progress)


class TokensToTags(Tokens, TextToTags):
    """Text to tags around something that takes ids. A subclass gives `run`.

    Args:
        source_tokenizer: for the words, each of which is tokenized by itself.
        labels: the names of the tags, in the order of the logits.
        max_source_length: longer texts are cut, with a warning that counts them.

    Raises:
        ValueError: if a tag is there twice.
    """

    gives = "tags"
    settings = ("labels", "max_source_length")

    def __init__(self, source_tokenizer: Tokenizer, labels: Sequence[str], max_source_length: int):
        self.source_tokenizer = source_tokenizer
        self.labels = check_labels(labels)
        self.max_source_length = max_source_length

    def encode_ragged(self, texts):
        return encode_words(split_words(texts), self.source_tokenizer, self.max_source_length)[0]

    def _read(self, texts):
        if not len(texts):
            return []
        words = split_words(texts)
        ids, begins = encode_words(words, self.source_tokenizer, self.max_source_length)
        return [_Item(*(x.numpy() for x in row)) for row in zip(ids, begins, words, strict=True)]

    def _write(self, items):
        source = self._pad([item.ids for item in items])
        found = self.run(source)["probabilities"]  # (B, S, tags)
        return [self._tags(item, row) for item, row in zip(items, found, strict=True)]

    def _tags(self, item, probabilities):
        places = np.flatnonzero(item.begins)
        best = probabilities[places].argmax(-1)
        return [
            Tag(word.decode("utf-8"), self.labels[tag], float(probabilities[place, tag]))
            for word, tag, place in zip(item.words, best, places, strict=False)  # some may be cut
        ]

    def output(self, source: np.ndarray, found: dict) -> Output:
        """What was found for source ids, to be compared."""
        kept = source != PAD  # (B, S)
        probabilities = np.where(kept[..., None], found["probabilities"], 0.0)  # (B, S, tags)
        tags = np.where(kept, np.array(self.labels)[probabilities.argmax(-1)], "").tolist()
        return Output(tags, tags, probabilities.max(-1), None, probabilities)

    def served(self, graphs: dict[str, Callable]) -> dict[str, Callable]:
        """The SavedModel's signatures from the graphs on ids: text to dictionaries."""
        names = tf.constant(token_names(self.source_tokenizer))

        def details(text):
            source = self.encode_served(text)  # (B, S)
            _, begins = self._words(text)
            tags, probabilities = by_probability(
                self.labels, graphs["serving_default"](source)["probabilities"]
            )  # (B, S, tags)
            kept = tf.expand_dims(source != PAD, -1)
            return {
                "source_tokens": tf.gather(names, source),
                "begins_word": begins.to_tensor(False, shape=tf.shape(source)),
                "tag": tf.where(kept, tags, ""),
                "probability": tf.where(kept, probabilities, 0.0),
            }

        def serve(text):
            found = details(text)
            words, begins = self._words(text)
            first = found["begins_word"]
            tags = tf.ragged.boolean_mask(found["tag"][..., 0], first)  # (B, words)
            probabilities = tf.ragged.boolean_mask(found["probability"][..., 0], first)
            kept = tf.gather(words, tf.ragged.range(tags.row_lengths()), batch_dims=1)
            return {
                "word": kept.to_tensor(""),
                "tag": tags.to_tensor(""),
                "probability": probabilities.to_tensor(0.0),
            }

        return {"serving_default": serve, "details": details}

    def _words(self, text):
        words = split_words(text)
        return words, encode_words(words, self.source_tokenizer, self.max_source_length)[1]

    def served_output(self, details: dict) -> Output:
        """What the signature `details` gave, to be compared."""
        best, scores = ([[x[0] for x in row] for row in details[n]] for n in ("tag", "probability"))
        return Output(best, best, scores, None, in_order(self.labels, details, "tag"))

    def best(self, details: dict) -> dict:
        """What `serving_default` should give where `details` gave this."""
        begins = [np.flatnonzero(row) for row in details["begins_word"]]
        longest = max(map(len, begins), default=0)
        padded = {"tag": "", "probability": 0.0}
        return {
            name: [
                [row[place][0] for place in places] + [padding] * (longest - len(places))
                for row, places in zip(details[name], begins, strict=True)
            ]
            for name, padding in padded.items()
        }


class _Item(NamedTuple):
    """One text as its ids, where words begin among them, and its words."""

    ids: np.ndarray
    begins: np.ndarray
    words: np.ndarray

    def __len__(self):
        return len(self.ids)
