"""Tokenizer and language model as one thing that goes on from a prompt."""

from collections.abc import Callable

import numpy as np

from keras_attention.export import PromptToTokens
from keras_attention.generation import GreedySearch, Strategy
from keras_attention.models import CausalLM
from keras_attention.tasks.generating import Generating
from keras_attention.tasks.task import check_vocabulary
from keras_attention.text import Tokenizer

UNFINISHED = "\ufffd"  # what is shown for a character of which some bytes are missing


class TextGenerator(Generating, PromptToTokens):
    """Goes on from a prompt with a `CausalLM`; an empty prompt begins a text.

    A call gives what is to be put after the prompt: `prompt + writer(prompt)` is the whole text. It
    begins with a space where a new word begins. What the tokenizer does not keep of the prompt
    (capitals, a space at its end: see `keras_attention.text`) the model does not see either.

    Train `model` with `fit` on `keras_attention.text.packed_batches`; the task sees its weights at
    every call.

    Args:
        model: the model; its vocabulary is as large as the tokenizer's.
        tokenizer: for the prompt and what is written; `source_tokenizer` of the task.
        strategy: `GreedySearch`, `BeamSearch` or `Sampling`; None is `GreedySearch()`.
        max_prompt_length: of a longer prompt the last tokens are read, with a warning that counts
            such prompts; `max_source_length` of the task.

    Raises:
        ValueError: if the tokenizer's vocabulary is not the model's, or the model has learned fewer
            positions than the longest prompt and answer need.

    Example:

    >>> from keras_attention.models import causal_lm
    >>> from keras_attention.text import CharacterTokenizer
    >>> letters = CharacterTokenizer.train(["abc"])
    >>> model = causal_lm(letters.vocabulary_size, num_layers=1)
    >>> writer = TextGenerator(model, letters, GreedySearch(max_new_tokens=5))
    >>> len(writer(["ab", ""]))
    2
    """

    def __init__(
        self,
        model: CausalLM,
        tokenizer: Tokenizer,
        strategy: Strategy | None = None,
        max_prompt_length: int = 128,
    ):
        check_vocabulary("tokenizer", tokenizer, model.decoder.vocabulary_size)
        super().__init__(tokenizer, max_prompt_length)
        self.model = model
        self.strategy = strategy or GreedySearch()
        model.decoder.check_room(max_prompt_length, self.strategy.max_new_tokens)

    def stream(self, prompt: str, callback: Callable[[str], None], every: int = 1) -> str:
        """Goes on from a prompt and hands over each piece of text as soon as it is written.

        A piece holds whole characters only. Together the pieces are what a call gives.

        Args:
            prompt: the prompt.
            callback: called with each new piece, such as
                `lambda piece: print(piece, end="", flush=True)`.
            every: tokens a piece; more of them cost less time in all.

        Returns:
            All that was written.

        Raises:
            ValueError: if the strategy is `BeamSearch`, which may take back what it wrote.
        """
        source = self._pad(self._read([prompt]))
        ids, text, given = [], "", 0
        for new in self.model.stream(source, self.strategy, every):
            ids.append(new[:, :1])
            ((text,),) = self._texts(source, np.concatenate(ids, axis=2))
            whole = text.rstrip(UNFINISHED)
            if len(whole) > given:
                callback(whole[given:])
                given = len(whole)
        if len(text) > given:
            callback(text[given:])
        return text
