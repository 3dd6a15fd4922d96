"""Prompt to text: what comes after the prompt is written out."""

import warnings
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_attention.export.text_to_text import TokensToTokens
from keras_attention.text import Tokenizer


class PromptToTokens(TokensToTokens):
    """Text to text around something that takes a prompt's ids and gives those that follow.

    A prompt has no END, and of a longer one the last tokens are kept. The text is what has to be
    put after the prompt's own: its first character is a space where a new word begins.

    Args:
        tokenizer: for the prompt and what follows.
        max_prompt_length: longer prompts lose their beginning, with a warning that counts them.
    """

    gives = "continuation"
    sides = ("source",)

    def __init__(self, tokenizer: Tokenizer, max_prompt_length: int):
        if max_prompt_length < 1:
            raise ValueError(
                "max_prompt_length: expected at least 1. "
                f"Received: max_prompt_length={max_prompt_length}"
            )
        super().__init__(tokenizer, tokenizer, max_prompt_length)

    @classmethod
    def read_parts(cls, folder: Path, settings: dict) -> dict:
        parts = super().read_parts(folder, settings)
        return {
            "tokenizer": parts["source_tokenizer"],
            "max_prompt_length": parts["max_source_length"],
        }

    def encode_ragged(self, texts: Any) -> tf.RaggedTensor:
        """Prompts to ids `(batch, None)`; longer ones lose their first tokens, with a warning."""
        ids, most = self.source_tokenizer.tokenize(texts), self.max_source_length
        if tf.executing_eagerly():
            count = sum(length > most for length in ids.row_lengths().numpy())
            if count:
                warnings.warn(
                    f"{count} of {ids.nrows()} prompts have more than {most} tokens and lost "
                    "their beginning.",
                    stacklevel=4,
                )
        return ids[:, -most:]

    def written(self, source: Any, ids: Any) -> tf.Tensor:
        # Tokens say only after others whether a space stands before them.
        prompts = tf.repeat(source, tf.shape(ids)[1], axis=0)  # (B * N, S)
        flat = tf.reshape(ids, (-1, ids.shape[-1]))  # (B * N, L)
        prompt = self.source_tokenizer.detokenize(prompts)
        whole = self.source_tokenizer.detokenize(tf.concat([prompts, flat], axis=1))
        start = tf.strings.length(prompt)
        after = tf.strings.substr(whole, start, tf.strings.length(whole) - start)
        return tf.reshape(after, tf.shape(ids)[:2])
