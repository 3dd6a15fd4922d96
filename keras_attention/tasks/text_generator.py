"""Text generation from a prompt with a language model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_attention.generation import GreedySearch, Strategy
from keras_attention.models import CausalLM
from keras_attention.tasks.generation_task import GenerationTask
from keras_attention.tasks.runner import ModelRunner
from keras_attention.tasks.task import check_vocabulary_size
from keras_attention.text import Tokenizer, load_tokenizer
from keras_attention.text.postprocessors import ContinuationPostprocessor
from keras_attention.text.preprocessors import PromptPreprocessor

REPLACEMENT = "\ufffd"  # shown for a character of which some bytes are missing


class TextGenerator(GenerationTask):
    """Continues prompts with a `CausalLM`; an empty prompt starts a new text.

    A call returns the continuation: `prompt + generator(prompt)` is the whole text. It starts with
    a space where a new word starts. The model does not see what the tokenizer removes from the
    prompt (capitals, a trailing space: see `keras_attention.text`).

    Train `model` with `fit` on `keras_attention.text.packed_batches`; the task always uses its
    current weights.

    Args:
        model: the model; its vocabulary has the size of the tokenizer's.
        tokenizer: encodes prompts and decodes the generated ids.
        strategy: `GreedySearch`, `BeamSearch` or `Sampling`; `None` is `GreedySearch()`.
        max_prompt_length: longer prompts lose their first tokens, with a warning that counts them.

    Raises:
        ValueError: If the tokenizer does not fit the model, or the model has learned fewer
            positions than the longest prompt and continuation need.

    Example:

    >>> from keras_attention.models import causal_lm
    >>> from keras_attention.text import CharacterTokenizer
    >>> tokenizer = CharacterTokenizer.train(["abc"])
    >>> model = causal_lm(tokenizer.vocabulary_size, num_layers=1)
    >>> generator = TextGenerator(model, tokenizer, GreedySearch(max_new_tokens=5))
    >>> len(generator(["ab", ""]))
    2
    """

    preprocessor: PromptPreprocessor
    postprocessor: ContinuationPostprocessor

    def __init__(
        self,
        model: CausalLM,
        tokenizer: Tokenizer,
        strategy: Strategy | None = None,
        max_prompt_length: int = 128,
    ):
        super().__init__(
            PromptPreprocessor(tokenizer, max_prompt_length),
            ModelRunner(model, strategy or GreedySearch()),
            ContinuationPostprocessor(tokenizer),
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer of prompts and continuations."""
        return self.preprocessor.tokenizer

    @property
    def max_prompt_length(self) -> int:
        """Maximum number of tokens of a prompt."""
        return self.preprocessor.max_length

    def stream(self, prompt: str, callback: Callable[[str], None], every: int = 1) -> str:
        """Continues a prompt, and passes on each piece as soon as it is complete.

        Together the pieces are what a call returns; each consists of whole characters.

        Args:
            prompt: the prompt.
            callback: called with each new piece, such as
                `lambda piece: print(piece, end="", flush=True)`.
            every: number of tokens in a piece; larger numbers take less time in total.

        Returns:
            The whole continuation.

        Raises:
            ValueError: If the strategy is `BeamSearch`, which may replace earlier tokens, or the
                task runs an exported file.
        """
        runner = self.model_runner("stream")
        batch = self.preprocessor.pad_examples(self.preprocessor.encode_examples([prompt]))
        chunks, text, num_sent = [], "", 0
        for ids in runner.model.stream(batch.model_inputs, runner.strategy, every):
            chunks.append(ids[:, :1])
            ((text,),) = self.postprocessor.texts(np.concatenate(chunks, axis=2), batch)
            complete = text.rstrip(REPLACEMENT)
            if len(complete) > num_sent:
                callback(complete[num_sent:])
                num_sent = len(complete)
        if len(text) > num_sent:
            callback(text[num_sent:])
        return text

    def check_model(self, model: CausalLM) -> None:
        check_vocabulary_size("tokenizer", self.tokenizer, model.decoder.vocabulary_size)
        model.decoder.check_prompt_length(self.max_prompt_length, self.strategy.max_new_tokens)

    def save_parts(self, folder: Path) -> dict[str, Any]:
        self.tokenizer.save(folder / "source")
        return {"max_prompt_length": self.max_prompt_length}

    @classmethod
    def load_parts(
        cls, folder: Path, config: dict[str, Any]
    ) -> tuple[PromptPreprocessor, ContinuationPostprocessor]:
        tokenizer = load_tokenizer(folder / "source")
        preprocessor = PromptPreprocessor(tokenizer, config["max_prompt_length"])
        return preprocessor, ContinuationPostprocessor(tokenizer)
