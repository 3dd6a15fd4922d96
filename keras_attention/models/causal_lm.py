"""Decoder-only Transformer: the language model and its builder."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_attention.decoders import CausalLMDecoder
from keras_attention.generation import GreedySearch, Strategy, Streamer
from keras_attention.layers import DecoderBlock, PromptEncoder
from keras_attention.models.generative_model import GenerativeModel
from keras_attention.models.transformer_config import TransformerConfig
from keras_attention.types import Tensor
from keras_attention.utils.validation import check_positive


@keras.saving.register_keras_serializable(package="keras_attention")
class CausalLM(GenerativeModel):
    """Decoder-only language model, a functional Keras model from ids to next-token logits.

    Ids are int32 `(batch, time)`. Each text begins with START, and rows are padded with 0. A row
    may hold several texts; they do not attend to each other. The output is `(batch, time,
    vocabulary_size)`. Train it with `fit` and `keras_attention.training.MaskedCrossEntropy`.

    `generate` continues prompts, which are ids without START. A prompt of padding alone begins a
    new text.

    Args:
        decoder: a `CausalLMDecoder`.

    Example:

    >>> import numpy as np
    >>> model = causal_lm(12, size="tiny", num_layers=1)
    >>> tuple(model(np.array([[1, 5, 6, 2, 1, 7, 2, 0]])).shape)  # two texts
    (1, 8, 12)
    >>> model.generate(np.array([[5, 6], [7, 0]])).ids.shape
    (2, 1, 64)
    """

    def __init__(self, decoder: CausalLMDecoder, **kwargs):
        ids = keras.Input((None,), dtype="int32", name="ids")
        prompt = PromptEncoder(decoder.vocabulary_size, name="prompt")
        super().__init__(prompt, decoder, inputs=ids, outputs=decoder(ids), **kwargs)

    def output_vectors(self, inputs: Tensor, training: bool) -> Tensor:
        return self.decoder.output_vectors(inputs, training=training)

    def stream(
        self, prompt: Any, strategy: Strategy | None = None, every: int = 1
    ) -> Iterator[np.ndarray]:
        """Generates like `generate`, and yields the new ids after every few steps.

        Args:
            prompt: int `(batch, prompt)`, padded with 0.
            strategy: `GreedySearch` or `Sampling`; None is `GreedySearch()`.
            every: number of steps between two yields; more steps cost less time in all.

        Yields:
            int32 `(batch, sequences, new)`; a text that has ended continues as padding.

        Raises:
            ValueError: As `generate` raises, and if the strategy is `BeamSearch`, which may replace
                tokens that it has generated.
        """
        prompt, strategy = np.asarray(prompt), strategy or GreedySearch()
        self.check(prompt, strategy)
        check_positive("every", every)
        return self.compiled_model(Streamer, prompt, strategy).stream(prompt, every, strategy)

    def max_steps(self, source: np.ndarray) -> int | None:
        """Returns how many tokens the decoder has positions for, `None` for any number."""
        max_positions = self.decoder.max_positions
        return None if max_positions is None else max_positions - source.shape[1]

    def check(self, source: np.ndarray, strategy: Strategy) -> None:
        """Raises a `ValueError` unless the model can continue this prompt."""
        super().check(source, strategy)
        self.decoder.check_prompt_length(source.shape[1], strategy.max_new_tokens)

    def get_config(self):
        return {"name": self.name, "decoder": keras.saving.serialize_keras_object(self.decoder)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        decoder = keras.saving.deserialize_keras_object(config["decoder"], custom_objects)
        return cls(decoder, name=config["name"])


def causal_lm(
    vocabulary_size: int,
    size: str = "tiny",
    *,
    positions: str | None = "rotary",
    name: str = "causal_lm",
    **options: Any,
) -> CausalLM:
    """Builds a decoder-only Transformer (Radford et al. 2018).

    The output weights are those of the embedding.

    Args:
        vocabulary_size: number of ids.
        size: `"tiny"`, `"small"`, `"base"` or `"big"`; see `TransformerConfig`.
        positions: position encoding; see `TransformerConfig`. With `"learned"`, `max_length` bounds
            the length of prompt and output together.
        name: name of the model.
        **options: arguments of `TransformerConfig` in place of the size's, and arguments of
            `layers.DecoderBlock`.

    Returns:
        A `CausalLM`, not compiled.

    Raises:
        ValueError: If the size or an option is unknown or invalid.

    References:
        Radford et al. 2018, [Improving Language Understanding by Generative
        Pre-Training](https://openai.com/index/language-unsupervised/).

    Example:

    >>> causal_lm(12, num_layers=1, norm_kind="rms", activation="swiglu").output_shape
    (None, None, 12)
    """
    config = TransformerConfig.from_size(size, positions=positions, **options)
    decoder = CausalLMDecoder(
        config.make_embedding(vocabulary_size, output="tied"),
        config.make_blocks(DecoderBlock, cross_attention=False),
        config.make_position_bias(causal=True),
        name="decoder",
    )
    return CausalLM(decoder, name=name)
