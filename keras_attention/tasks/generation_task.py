"""Base of the tasks that generate text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_attention.generation import Strategy
from keras_attention.ops.ids import END, PAD
from keras_attention.tasks.task import Task
from keras_attention.text import Tokenizer
from keras_attention.text.postprocessors import GeneratedText, TextPostprocessor
from keras_attention.text.preprocessors import TextPreprocessor

if TYPE_CHECKING:  # images import TensorFlow, which other tasks do without
    from keras_attention.images.preprocessors import ImagePreprocessor


class Alignment(NamedTuple):
    """Attention weights between source and target tokens.

    Attributes:
        source: source tokens.
        target: generated tokens.
        weights: `(target, source)`.
    """

    source: list[str]
    target: list[str]
    weights: np.ndarray


class GenerationTask(Task):
    """A task whose model generates ids with a strategy.

    Calling it returns the best text for each input. `generate` returns all hypotheses with scores.
    """

    preprocessor: TextPreprocessor | ImagePreprocessor
    postprocessor: TextPostprocessor

    @property
    def strategy(self) -> Strategy:
        """The strategy; it can be replaced, except in an exported file."""
        strategy = self.model_runner("strategy").strategy
        assert strategy is not None  # tasks that generate have one
        return strategy

    @strategy.setter
    def strategy(self, strategy: Strategy) -> None:
        self.model_runner("strategy").strategy = strategy

    @property
    def target_tokenizer(self) -> Tokenizer:
        """Tokenizer of the generated text."""
        return self.postprocessor.tokenizer

    @property
    def metadata(self) -> dict[str, Any]:
        """The strategy."""
        return {"strategy": repr(self.strategy)}

    @classmethod
    def load(cls, folder: str | Path, strategy: Strategy | None = None) -> Any:
        """Loads a task that `save` wrote.

        Args:
            folder: the folder.
            strategy: replaces the saved strategy.

        Raises:
            ValueError: If the folder holds no task of this class and format, or a file has changed
                since it was saved.
        """
        return cls._load(Path(folder), strategy)

    def generate(
        self, inputs: Sequence[Any], batch_size: int = 32, progress: bool = False
    ) -> list[list[GeneratedText]]:
        """Generates texts with their scores.

        Args:
            inputs: any number of inputs; texts may be empty.
            batch_size: number of inputs that are run at once; inputs of similar length are run
                together.
            progress: whether to show a progress bar.

        Returns:
            For each input the strategy's hypotheses, best first.

        Raises:
            ValueError: If `inputs` is not a list.
        """
        return self.predict(inputs, batch_size, progress)

    def attention(self, text: str) -> Alignment:
        """Generates for one text and returns the attention weights of the best hypothesis.

        Args:
            text: the input.

        Returns:
            An `Alignment`, which `keras_attention.viz.plot_alignment` draws.

        Raises:
            ValueError: If the task runs an exported file without attention weights.
        """
        assert isinstance(self.preprocessor, TextPreprocessor)  # `Captioner` has another method
        source_ids, ids, weights = self._generate_with_attention(text)
        return Alignment(
            self.preprocessor.tokenizer.tokens(list(source_ids)),
            self.target_tokenizer.tokens(ids),
            weights[:, : len(source_ids)],
        )

    def _generate_with_attention(self, raw_input: Any) -> tuple[np.ndarray, list[int], np.ndarray]:
        """Generates for one input.

        Returns:
            The example that the model read, the ids of the best hypothesis up to `[END]`, and its
            attention weights `(ids, source)`.
        """
        (example,) = self.preprocessor.encode_examples([raw_input])
        batch = self.preprocessor.pad_examples([example])
        outputs = self.runner(batch.model_inputs, details=True)
        if "attention" not in outputs:
            raise ValueError(
                "Attention weights need an export with the signature `details`. "
                f"Received: {self.runner!r}, which has none"
            )
        ids = truncate_at_end(outputs["ids"][0, 0])
        return example, ids, outputs["attention"][0, 0, : len(ids)]


def truncate_at_end(ids: Any) -> list[int]:
    """Returns one row of ids up to and including its END, without padding."""
    ids = [int(id) for id in ids if id != PAD]
    return ids[: ids.index(END) + 1] if END in ids else ids
