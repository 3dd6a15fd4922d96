"""The decoder-only Transformer: what comes next."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_attention.decoders import CausalLMDecoder
from keras_attention.generation import GreedySearch, Strategy, Streamer
from keras_attention.layers import DecoderBlock, PromptEncoder, TokenEmbedding, make_blocks
from keras_attention.layers.validation import check_positive
from keras_attention.models.generative_model import GenerativeModel
from keras_attention.models.sizes import (
    block_options,
    embedding_options,
    shared_position_bias,
    size_of,
)


@keras.saving.register_keras_serializable(package="keras_attention")
class CausalLM(GenerativeModel):
    """A functional Keras model from ids to the logits of the next tokens.

    The ids are `(batch, time)` int32, each text from START on, padded with 0; a row may hold
    several texts, which do not see each other. The output is `(batch, time, vocabulary_size)`. It
    trains with `fit` and `keras_attention.training.MaskedCrossEntropy`. `generate` goes on from
    prompts, which are ids without START; a prompt that is all padding begins a text.

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

    def stream(
        self, prompt: Any, strategy: Strategy | None = None, every: int = 1
    ) -> Iterator[np.ndarray]:
        """Generates as `generate`, and gives the new ids whenever `every` steps were taken.

        Args:
            prompt: `(batch, prompt)` int, padded with 0.
            strategy: `GreedySearch` or `Sampling`; None is `GreedySearch()`.
            every: steps; more of them cost less time in all.

        Yields:
            int32 `(batch, n, new)`; a text that has ended goes on as padding.

        Raises:
            ValueError: as `generate`, and if the strategy is `BeamSearch`, which may take tokens
                back.
        """
        prompt, strategy = np.asarray(prompt), strategy or GreedySearch()
        self.check(prompt, strategy)
        check_positive("every", every)
        return self._generators.get(Streamer, self, strategy).stream(prompt, every)

    def check(self, source: np.ndarray, strategy: Strategy) -> None:
        """Raises a `ValueError` unless the model can read this prompt and go on from it."""
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
    num_layers: int | None = None,
    hidden_dim: int | None = None,
    intermediate_dim: int | None = None,
    num_heads: int | None = None,
    dropout: float | None = None,
    norm: str = "pre",
    positions: str | None = "rotary",
    max_length: int = 512,
    name: str = "causal_lm",
    **block,
) -> CausalLM:
    """Builds a decoder-only Transformer (Radford et al. 2018), its output tied to its embedding.

    Args:
        vocabulary_size: number of ids.
        size: of `models.transformer`'s table; the next five replace what it says.
        num_layers: blocks.
        hidden_dim: width of the model.
        intermediate_dim: hidden width of the feed-forward layers.
        num_heads: heads of the attention.
        dropout: rate on the embedding and on what every sub-layer gives.
        norm: `"pre"`, `"post"` or `"sandwich"`: see `layers.Residual`.
        positions: of `models.transformer`'s table.
        max_length: positions in the learned table; prompt and answer together have to fit.
        name: of the model.
        **block: further options of `layers.DecoderBlock`.

    Returns:
        A `CausalLM`, not compiled.

    Raises:
        ValueError: for an unknown size or option, or heads that do not divide the width.

    Example:

    >>> causal_lm(12, num_layers=1, norm_kind="rms", activation="swiglu").output_shape
    (None, None, 12)
    """
    sizes = size_of(
        size,
        num_layers=num_layers,
        hidden_dim=hidden_dim,
        intermediate_dim=intermediate_dim,
        num_heads=num_heads,
        dropout=dropout,
    )
    embedding = TokenEmbedding(
        vocabulary_size, output="tied", **embedding_options(sizes, positions, max_length)
    )
    options = block_options(sizes, positions, norm=norm, **block)
    decoder = CausalLMDecoder(
        embedding,
        make_blocks(DecoderBlock, **options, cross_attention=False),
        shared_position_bias(sizes, positions, causal=True),
        name="decoder",
    )
    return CausalLM(decoder, name=name)
