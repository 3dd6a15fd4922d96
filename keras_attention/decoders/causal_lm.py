"""Decoder of a causal language model, which continues a prompt."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.layers.build import build_if_needed
from keras_attention.layers.decoder_block import DecoderBlock
from keras_attention.layers.embedding import TokenEmbedding, check_output
from keras_attention.layers.positions import PositionEncoding
from keras_attention.layers.transformer import (
    DecoderStack,
    deserialize_stack_config,
    get_stack_config,
)
from keras_attention.ops import masks
from keras_attention.ops.attention_mask import AttentionMask
from keras_attention.ops.beam_cache import CacheState
from keras_attention.ops.ids import START
from keras_attention.ops.kv_cache import CachedPast, KVCache
from keras_attention.ops.segments import target_segments
from keras_attention.types import Mask, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class CausalLMDecoder(keras.layers.Layer):
    """Decoder-only Transformer: token embedding, causal blocks, output projection.

    A row of ids may hold several packed texts, each of which begins with START. They do not attend
    to each other, and the positions of each count from 0, as if it had a row of its own.

    Generation processes the prompt in one pass, which fills the key/value cache of the steps. A
    prompt that contains START holds several texts, too, and generation continues the last one.

    Args:
        embedding: A `TokenEmbedding` with an output projection.
        blocks: List of `DecoderBlock`s with `cross_attention=False`; `layers.make_blocks` builds
            equal ones.
        position_bias: A `PositionEncoding` whose bias all blocks share, such as
            `RelativePositionBias`, or `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        ids: Int `(B, T)`, each text preceded by START, padded with 0.
        training: Whether to apply dropout.

    Returns:
        Logits of the next token at every position, `(B, T, vocabulary_size)`.

    Raises:
        ValueError: If the embedding has no output projection, there is no block, a block has
            cross-attention, or blocks share weights.

    References:
        Radford et al. 2018, [Improving Language Understanding by Generative
        Pre-Training](https://openai.com/index/language-unsupervised/).

    Example:

    >>> import numpy as np
    >>> from keras_attention.layers import DecoderBlock, TokenEmbedding, make_blocks
    >>> options = {"num_heads": 2, "intermediate_dim": 16, "cross_attention": False}
    >>> blocks = make_blocks(DecoderBlock, num_layers=2, **options)
    >>> decoder = CausalLMDecoder(TokenEmbedding(12, 8, output="tied"), blocks)
    >>> tuple(decoder(np.array([[1, 5, 6], [1, 7, 0]])).shape)
    (2, 3, 12)
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        blocks: Sequence[DecoderBlock],
        position_bias: PositionEncoding | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_output(embedding)
        self.embedding = embedding
        self.stack = DecoderStack(blocks, position_bias, name="stack", dtype=self.dtype_policy)
        if any(block.has_cross_attention for block in blocks):
            raise ValueError(
                "`blocks` must have cross_attention=False, since the model has no encoder. "
                "Received: a block with cross_attention=True"
            )

    @property
    def vocabulary_size(self) -> int:
        """Number of ids."""
        return self.embedding.vocabulary_size

    @property
    def max_positions(self) -> int | None:
        """Number of learned positions, or `None` if there is no limit."""
        return self.embedding.max_positions

    @property
    def has_cache(self) -> bool:
        """True, as the state grows with the number of steps."""
        return True

    @property
    def blocks(self) -> list[DecoderBlock]:
        """Decoder blocks."""
        return self.stack.blocks

    def build(self, ids_shape):
        build_if_needed(self.embedding, ids_shape)
        build_if_needed(self.stack, (*ids_shape, self.embedding.embedding_dim))
        self.built = True

    def compute_output_shape(self, ids_shape):
        return (*ids_shape, self.vocabulary_size)

    def call(self, ids: Tensor, training: bool | None = None) -> Tensor:
        return self.embedding.logits(self.output_vectors(ids, training))  # (B, T, V)

    def output_vectors(self, ids: Tensor, training: bool | None = None) -> Tensor:
        """Returns the vectors `(B, T, D)` that `embedding.logits` projects; arguments as `call`."""
        return self._forward(ids, bool(training))[0]

    def start(
        self,
        prompt: Tensor,
        prompt_mask: Mask = None,
        num_beams: int = 1,
        max_length: int = 64,
        cache_length: int | None = None,
    ) -> tuple[dict, CacheState]:
        """Prepares generation: fills the caches with the prompt in one pass.

        Args:
            prompt: Ids of the prompt without START, int `(B, P - 1)`; padding may be on either
                side.
            prompt_mask: Not used; padding is id 0.
            num_beams: Number of hypotheses per prompt, K.
            max_length: Maximum number of steps.
            cache_length: Number of steps that the caches have slots for, L; `max_length` by
                default. `grow` adds more.

        Returns:
            `(constants, state)`: the last token and the positions of the prompt, and a `CacheState`
            with a cache of P - 1 + L slots for each block, where a window limits P - 1 + L.

        Raises:
            ValueError: If prompt and steps exceed the learned positions.
        """
        if prompt.shape[1] is not None:
            self.check_prompt_length(prompt.shape[1], max_length)
        start = ops.full_like(prompt[:, :1], START)
        ids = ops.concatenate([start, prompt], axis=1)  # (B, P)
        segments = target_segments(ids)
        is_last_text = masks.combine_masks(
            masks.padding_mask(ids), ops.equal(segments, segments[:, -1:])
        )  # (B, P)
        aligned = _align_right(ids, is_last_text)
        # The first step processes the last token of the prompt.
        _, sequences = self._forward(aligned[:, :-1], False)
        positions = masks.positions_from_mask(is_last_text)
        constants = {
            "first_ids": aligned[:, -1:],  # (B, 1)
            "first_position": positions[:, -1:],  # (B, 1)
            "prompt_positions": ops.where(is_last_text, positions, -1)[:, 1:],  # (B, P - 1)
        }
        length = max_length if cache_length is None else cache_length
        num_cached = ops.shape(prompt)[1]
        return constants, self.stack.fill_cache(sequences, num_beams, num_cached + length)

    def grow(self, state: CacheState, constants: dict, length: Tensor) -> CacheState:
        """Returns the caches with slots for `length` steps, an int or an int32 scalar."""
        return self.stack.grow(state, ops.shape(constants["prompt_positions"])[1] + length)

    def step(
        self,
        ids: Tensor,
        position: Tensor,
        state: CacheState,
        constants: dict,
        return_weights: bool = False,
    ) -> tuple[Tensor, CacheState, Tensor | None]:
        """Computes one step of every beam.

        Args:
            ids: Last token of each beam, int `(B, K)`; ignored at position 0, which continues the
                prompt.
            position: Int scalar, the number of generated tokens before it.
            state: From `start` or the previous step.
            constants: From `start`.
            return_weights: Whether to return the attention weights.

        Returns:
            `(logits, state, weights)`: logits `(B, K, vocabulary_size)`, the next state, and the
            attention weights of the last block on the prompt, averaged over its heads,
            `(B, K, P - 1)`, or `None` unless requested. The rest of each row is attention to START
            and to generated tokens.
        """
        ids = ops.where(ops.equal(position, 0), ops.cast(constants["first_ids"], ids.dtype), ids)
        index = ops.shape(constants["prompt_positions"])[1] + position
        positions = constants["first_position"] + position  # (B, 1)
        x = self.embedding(ids, positions=positions)  # (B, K, D)
        x, weights, state = self.stack.step(
            x, None, state, index, positions, return_weights=return_weights
        )
        if weights is not None:
            weights = _weights_on_prompt(weights, index, positions, constants["prompt_positions"])
        return self.embedding.logits(x), state, weights

    def extend(
        self, ids: Tensor, positions: Tensor, mask: Tensor, caches: Sequence[KVCache]
    ) -> tuple[Tensor, list[KVCache]]:
        """Processes the next tokens of texts whose earlier ones are in caches.

        A caller that keeps the caches itself, such as another runtime, processes a prompt in
        chunks of any length with it, and then one token at a time.

        Args:
            ids: The next tokens, START included, int `(B, T)`.
            positions: Their positions, int `(1, T)`; they are written to the slots from the first
                of them on.
            mask: Bool `(B, T, L)`, True for the slots to attend to. The causal mask is part of it.
            caches: For each block keys and values `(B, G, L, D)`; slot i holds position i.

        Returns:
            The vectors `(B, T, D)` that `embedding.logits` projects, and the updated caches.
        """
        x = self.embedding(ids, positions=positions)  # (B, T, D)
        pasts = [CachedPast(cache, positions[0, 0]) for cache in caches]
        return self.stack.full_pass(x, mask=mask, positions=positions, pasts=pasts)

    def check_prompt_length(self, prompt_length: int, max_length: int) -> None:
        """Raises a `ValueError` if prompt and generated tokens exceed the learned positions.

        START takes one position; the last generated token needs none, as it is not processed.
        """
        prompt = f"a prompt of {prompt_length} tokens, including padding,"
        self.embedding.check_length(prompt_length + max_length, f"{prompt} and {max_length} more")

    def _forward(self, ids, training):
        """Returns the outputs (B, T, D) of all positions, and the keys and values of each block."""
        mask = masks.padding_mask(ids)  # (B, T)
        segments = target_segments(ids)  # (B, T)
        attention_mask = AttentionMask(
            keys=mask, causal=True, query_segments=segments, key_segments=segments
        )
        positions = masks.segment_positions(segments, mask)  # (B, T)
        x = self.embedding(ids, positions=positions, training=training)  # (B, T, D)
        return self.stack.full_pass(x, mask=attention_mask, positions=positions, training=training)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "embedding": keras.saving.serialize_keras_object(self.embedding),
            **get_stack_config(self.stack),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_stack_config(config, "embedding"))


def _align_right(ids, mask):
    """Moves the unmasked ids of each row to its end, in order, and sets the others to 0."""
    length = ops.shape(ids)[1]
    columns = ops.arange(length, dtype="int32")  # (T,)
    order = ops.argsort(ops.where(mask, columns, columns - length), axis=1)  # masked ones first
    return ops.take_along_axis(ops.where(mask, ids, 0), order, axis=1)


def _weights_on_prompt(weights, index, positions, prompt_positions):
    """Returns the weights on the prompt from those on the slots of a cache.

    Args:
        weights: (B, K, L).
        index: int scalar, the index in the cache of the query.
        positions: int (B, 1), the position of the query.
        prompt_positions: int (B, P - 1), positions of the tokens; -1 for tokens that are masked.

    Returns:
        (B, K, P - 1), 0 for tokens that are masked or no longer in the cache.
    """
    length = ops.shape(weights)[2]
    distance = positions - prompt_positions  # (B, P - 1)
    slots = ops.expand_dims(ops.mod(index - distance, length), 1)  # (B, 1, P - 1)
    is_cached = masks.combine_masks(prompt_positions >= 0, distance < length)
    weights = ops.take_along_axis(weights, slots, axis=2)  # (B, K, P - 1)
    return ops.where(ops.expand_dims(is_cached, 1), weights, 0.0)
