"""Text to text: what strategies find is written out."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_attention.export.texts import Texts, Tokens, token_names
from keras_attention.export.verification.compare import Output
from keras_attention.text import Tokenizer


class GeneratedText(NamedTuple):
    """One answer and the strategy's score of it."""

    text: str
    score: float


class TextToText(Texts):
    """Called with a string or a list of strings, it gives a string or a list of strings."""

    def generate(
        self, texts: Sequence[str], batch_size: int = 32, progress: bool = False
    ) -> list[list[GeneratedText]]:
        """Answers a list of strings, and says how sure the model is.

        Args:
            texts: any number of strings, empty ones too.
            batch_size: texts generated for at once; texts of about one length go together.
            progress: whether to show a bar.

        Returns:
            For each text the strategy's answers, best first.

        Raises:
            ValueError: if `texts` is one string.
        """
        return self._answers(texts, batch_size, progress)

    def _short(self, answer):
        return answer[0].text


class TokensToTokens(Tokens, TextToText):
    """Text to text around something that takes ids and gives ids. A subclass gives `run`.

    Args:
        source_tokenizer: for what comes in.
        target_tokenizer: for what goes out.
        max_source_length: longer sources are cut, with a warning that counts them.
    """

    gives = "text"
    sides = ("source", "target")

    def __init__(
        self, source_tokenizer: Tokenizer, target_tokenizer: Tokenizer, max_source_length: int
    ):
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.max_source_length = max_source_length

    def written(self, source: Any, ids: Any) -> tf.Tensor:
        """Ids `(batch, n, length)` to strings `(batch, n)`, in a graph too."""
        flat = tf.reshape(ids, (-1, ids.shape[-1]))
        return tf.reshape(self.target_tokenizer.detokenize(flat), tf.shape(ids)[:2])

    def _answer(self, source, found):
        return [
            [GeneratedText(text, float(score)) for text, score in zip(*row, strict=True)]
            for row in zip(self._texts(source, found["ids"]), found["scores"], strict=True)
        ]

    def _texts(self, source, ids):
        """The same as lists of lists."""
        texts = self.written(source, ids).numpy().tolist()
        return [[text.decode("utf-8") for text in row] for row in texts]

    def output(self, source: np.ndarray, found: dict) -> Output:
        """What was found for source ids, to be compared."""
        names = np.array(token_names(self.target_tokenizer))
        ids, scores = found["ids"], found["scores"]
        return Output(self._texts(source, ids), names[ids], scores, found["attention"])

    def served(self, graphs: dict[str, Callable]) -> dict[str, Callable]:
        """The SavedModel's signatures from the graphs on ids: text to dictionaries."""
        names = tf.constant(token_names(self.target_tokenizer))
        source_names = tf.constant(token_names(self.source_tokenizer))

        def serve(text):
            source = self.encode_served(text)
            found = graphs["serving_default"](source)
            best = self.written(source, found["ids"][:, :1])
            return {"text": best[:, 0], "score": found["scores"][:, 0]}

        def details(text):
            source = self.encode_served(text)
            found = graphs["details"](source)
            return {
                "text": self.written(source, found["ids"]),
                "score": found["scores"],
                "source_tokens": tf.gather(source_names, source),
                "target_tokens": tf.gather(names, found["ids"]),
                "attention": tf.cast(found["attention"], "float32"),
            }

        return {"serving_default": serve, "details": details}

    def served_output(self, details: dict) -> Output:
        """What the signature `details` gave, to be compared."""
        return Output(
            details["text"], details["target_tokens"], details["score"], details["attention"]
        )

    def best(self, details: dict) -> dict:
        """What `serving_default` should give where `details` gave this."""
        return {name: [row[0] for row in details[name]] for name in ("text", "score")}
