"""Stacks of Transformer blocks: the encoder, and the core of the decoders."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.layers.build import build_if_needed, deserialize_config
from keras_attention.layers.decoder_block import DecoderBlock
from keras_attention.layers.encoder_block import EncoderBlock
from keras_attention.layers.positions import PositionEncoding
from keras_attention.layers.residual import make_norm
from keras_attention.layers.transformer_block import TransformerBlock
from keras_attention.ops.attention import Memory
from keras_attention.ops.beam_cache import (
    CacheState,
    CacheStep,
    cache_step,
    init_beams,
    write_own_beam,
)
from keras_attention.ops.growing_loop import grow_axis
from keras_attention.ops.kv_cache import CachedPast, KVCache
from keras_attention.types import Mask, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class TransformerEncoder(keras.layers.Layer):
    """Stack of encoder blocks, with a final normalization unless the blocks are post-LN.

    Args:
        blocks: List of `EncoderBlock`s; `make_blocks` builds equal ones.
        position_bias: A `PositionEncoding` whose bias all blocks share, such as
            `RelativePositionBias` (Raffel et al. 2020, section 2.1), or `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        x: Sequence, `(B, S, D)`.
        mask: Bool `(B, S)`, True means attend.
        attention_mask: Bool `(B, S, S)`, or of a shape that broadcasts to it.
        training: Whether to apply dropout.

    Returns:
        Dictionary of `"sequence"`, the output of the stack, `(B, S, D)`.

    Raises:
        ValueError: If there is no block, or blocks share weights.

    Example:

    >>> import numpy as np
    >>> blocks = [EncoderBlock(num_heads=2, intermediate_dim=32) for _ in range(3)]
    >>> encoder = TransformerEncoder(blocks)
    >>> tuple(encoder(np.ones((2, 5, 16), "float32"))["sequence"].shape)
    (2, 5, 16)
    """

    def __init__(
        self,
        blocks: Sequence[EncoderBlock],
        position_bias: PositionEncoding | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_blocks(blocks)
        self.position_bias = position_bias
        self.blocks = list(blocks)
        self.final_norm = make_final_norm(blocks, self.dtype_policy)
        self.supports_masking = True

    def build(self, x_shape):
        build_stack(self, x_shape)
        self.built = True

    def call(
        self,
        x: Tensor,
        mask: Mask = None,
        attention_mask: Mask = None,
        training: bool | None = None,
    ) -> dict[str, Tensor]:
        for block in self.blocks:
            x = block(
                x,
                mask=mask,
                attention_mask=attention_mask,
                position_bias=self.position_bias,
                training=training,
            )
        if self.final_norm is not None:
            x = self.final_norm(x)
        return {"sequence": x}

    def compute_output_shape(self, x_shape):
        return {"sequence": x_shape}

    def compute_mask(self, x, mask=None):
        return None  # Keras would attach the mask to the dictionary; callers pass it explicitly

    def get_config(self) -> dict:
        return {**super().get_config(), **get_stack_config(self)}

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_stack_config(config))


class DecoderStack(keras.layers.Layer):
    """Stack of decoder blocks, the part that all Transformer decoders have in common.

    The layer is not called: a decoder uses `full_pass` for a whole sequence, and `init_cache` and
    `step` for one position after the other.

    Args:
        blocks: List of `DecoderBlock`s.
        position_bias: A `PositionEncoding` whose bias all blocks share, or `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Raises:
        ValueError: If there is no block, or blocks share weights.
    """

    def __init__(
        self,
        blocks: Sequence[DecoderBlock],
        position_bias: PositionEncoding | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_blocks(blocks)
        self.position_bias = position_bias
        self.blocks = list(blocks)
        self.final_norm = make_final_norm(blocks, self.dtype_policy)

    def build(self, x_shape, encoded_shape=None):
        build_stack(self, x_shape, *(() if encoded_shape is None else (encoded_shape,)))
        self.built = True

    def memories(self, encoded: Tensor, mask: Mask = None) -> list[Memory | None]:
        """Projects the outputs of an encoder, `(B, S, E)`, once for each block."""
        return [block.memory(encoded, mask) for block in self.blocks]

    def full_pass(
        self,
        x: Tensor,
        memories: Sequence[Memory | None] | None = None,
        *,
        mask: Mask,
        positions: Tensor,
        memory_mask: Mask = None,
        pasts: Sequence[CachedPast | None] | None = None,
        training: bool = False,
    ) -> tuple[Tensor, list[KVCache]]:
        """Processes all positions of a sequence, or several that follow those in caches, at once.

        Args:
            x: `(B, T, D)`.
            memories: From `memories`; `None` without cross-attention.
            mask: Mask of self-attention including the causal mask, bool `(B, T, S)` or an
                `AttentionMask`; S is T, or with `pasts` the slots of the updated caches.
            positions: Int `(B, T)` or `(1, T)`.
            memory_mask: Mask of cross-attention, bool `(B, T, S)` or an `AttentionMask`, combined
                with that of the memories.
            pasts: Keys and values of earlier positions for each block, `(B, G, L, D)`; `None` if
                `x` is the whole sequence.
            training: Whether to apply dropout.

        Returns:
            The output `(B, T, D)`, and the keys and values of each block, `(B, G, S, D)`.
        """
        nothing = self._none_for_each()
        caches = []
        for block, memory, past in zip(
            self.blocks, memories or nothing, pasts or nothing, strict=True
        ):
            x, _, cache = block.full_pass(
                x,
                memory,
                memory_mask=memory_mask,
                mask=mask,
                positions=positions,
                position_bias=self.position_bias,
                past=past,
                training=training,
            )
            caches.append(cache)
        return self._normalize(x), caches

    def init_cache(self, batch: Tensor, beams: int, length: int) -> CacheState:
        """Returns an empty key/value cache for each block, for `length` positions."""
        caches = [block.self_attention.init_cache(batch, beams, length) for block in self.blocks]
        return CacheState(caches, init_beams(batch, beams, length))

    def fill_cache(self, sequences: Sequence[KVCache], beams: int, length: Tensor) -> CacheState:
        """Returns the caches for `length` positions, with the last keys and values of `full_pass`.

        See `MultiHeadSelfAttention.fill_cache`.
        """
        caches = [
            block.self_attention.fill_cache(sequence, beams, length)
            for block, sequence in zip(self.blocks, sequences, strict=True)
        ]
        return CacheState(caches, init_beams(ops.shape(sequences[0].keys)[0], beams, length))

    def grow(self, state: CacheState, length: Tensor) -> CacheState:
        """Returns the caches for `length` positions; all slots of the old ones must be in use."""
        beams = state.beams.shape[1]
        caches = [
            block.self_attention.grow(cache, beams, length)
            for block, cache in zip(self.blocks, state.caches, strict=True)
        ]
        return CacheState(caches, grow_axis(state.beams, 2, length))

    def step(
        self,
        x: Tensor,
        memories: Sequence[Memory | None] | None,
        state: CacheState,
        index: Tensor,
        positions: Tensor,
        *,
        return_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None, CacheState]:
        """Processes one new token of each beam; see `DecoderBlock.step`.

        Args:
            x: `(B, K, D)`.
            memories: From `memories`; `None` without cross-attention.
            state: From `init_cache`, `fill_cache` or the previous step.
            index: Int scalar, the number of tokens before, padding included.
            positions: Int `(B, 1)` or `(1, 1)`, the positions of the tokens.
            return_weights: Whether to return the attention weights.

        Returns:
            `(x, weights, state)`: the output `(B, K, D)`, the attention weights of the last block,
            averaged over its heads, `(B, K, S)`, or `None` unless requested, and the updated
            caches.
        """
        weights, updated = None, []
        beams = write_own_beam(state.beams, index)
        steps: dict[int | None, CacheStep] = {}  # by window, on which the slots depend
        for block, memory, cache in zip(
            self.blocks, memories or self._none_for_each(), state.caches, strict=True
        ):
            window = block.self_attention.window
            if window not in steps:
                steps[window] = cache_step(index, positions, beams, cache)
            x, weights, cache = block.step(
                x,
                memory,
                cache,
                steps[window],
                position_bias=self.position_bias,
                return_weights=return_weights and block is self.blocks[-1],
            )
            updated.append(cache)
        if return_weights:
            weights = ops.mean(weights, axis=1)  # (B, K, S)
        return self._normalize(x), weights, CacheState(updated, beams)

    def _normalize(self, x):
        return x if self.final_norm is None else self.final_norm(x)

    def _none_for_each(self):
        return [None] * len(self.blocks)


def check_blocks(blocks: Sequence[TransformerBlock]) -> None:
    """Raises a `ValueError` if a stack has no blocks."""
    if not isinstance(blocks, (list, tuple)) or not blocks:
        raise ValueError(f"`blocks` must be a list of at least one block. Received: {blocks!r}")


def make_final_norm(blocks: Sequence[TransformerBlock], dtype: Any) -> keras.layers.Layer | None:
    """Builds the normalization after a stack, or returns `None` if its blocks are post-LN."""
    last = blocks[-1]
    return None if last.norm == "post" else make_norm(last.norm_kind, name="norm", dtype=dtype)


def build_stack(stack: Any, x_shape: tuple, *encoded_shape: tuple) -> None:
    """Builds position bias, blocks and final normalization of a stack.

    Raises:
        ValueError: If blocks share weights, which would be separate after saving and loading.
    """
    if stack.position_bias is not None:
        build_if_needed(stack.position_bias, ())
    for block in stack.blocks:
        build_if_needed(block, x_shape, *encoded_shape)
    weights = [weight for block in stack.blocks for weight in block.weights]
    if len({id(weight) for weight in weights}) < len(weights):
        raise ValueError(
            "`blocks` must not share weights; a position bias that they share is the "
            f"`position_bias` of the stack. Received: blocks={stack.blocks}"
        )
    if stack.final_norm is not None:
        build_if_needed(stack.final_norm, x_shape)


def get_stack_config(stack: Any) -> dict:
    """Returns the entries of a stack in a config."""
    return {
        "blocks": [keras.saving.serialize_keras_object(block) for block in stack.blocks],
        "position_bias": keras.saving.serialize_keras_object(stack.position_bias),
    }


def deserialize_stack_config(config: dict, *names: str) -> dict:
    """Returns a config with blocks, position bias and the entries of these names as objects."""
    blocks = [keras.saving.deserialize_keras_object(block) for block in config["blocks"]]
    return {**deserialize_config(config, "position_bias", *names), "blocks": blocks}
