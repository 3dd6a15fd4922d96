"""The decoder contract, kept by a stack of blocks that go on from a prompt."""

from typing import Any

import keras
from keras import ops

from keras_attention.decoders.transformer import TransformerDecoder
from keras_attention.layers.blocks import DecoderBlock
from keras_attention.layers.embedding import TokenEmbedding
from keras_attention.ops import masks
from keras_attention.ops.attention import Memory
from keras_attention.ops.ids import START


@keras.saving.register_keras_serializable(package="keras_attention")
class CausalLMDecoder(TransformerDecoder):
    """Embedding -> causal blocks -> logits: a language model (Radford et al. 2018).

    A row of ids may hold several texts one after the other, each from its START on: they do not see
    each other, and their positions count from 0, as if each had a row of its own.

    The prompt is read in one pass; steps go on from what was kept of it.

    Args:
        embedding: a `TokenEmbedding` with an output.
        block: a `DecoderBlock` with `cross_attention=False`.
        num_layers: how many.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Raises:
        ValueError: if the embedding has no output, the block looks at a memory, or `num_layers` is
            below 1.

    References:
        Radford et al. 2018, [Improving Language Understanding by Generative
        Pre-Training](https://openai.com/index/language-unsupervised/).

    Example:

    >>> import numpy as np
    >>> from keras_attention.layers import DecoderBlock, TokenEmbedding
    >>> block = DecoderBlock(num_heads=2, intermediate_dim=16, cross_attention=False)
    >>> decoder = CausalLMDecoder(TokenEmbedding(12, 8, output="tied"), block, num_layers=2)
    >>> tuple(decoder(np.array([[1, 5, 6], [1, 7, 0]])).shape)
    (2, 3, 12)
    """

    def __init__(
        self, embedding: TokenEmbedding, block: DecoderBlock, num_layers: int, **kwargs: Any
    ):
        super().__init__(embedding, block, num_layers, **kwargs)
        if block.options["cross_attention"]:
            raise ValueError(
                "block: expected a DecoderBlock with cross_attention=False: there is no encoder to "
                "look at. Received: cross_attention=True"
            )

    def build(self, ids_shape):
        super().build(ids_shape)

    def compute_output_shape(self, ids_shape):
        return super().compute_output_shape(ids_shape)

    def call(self, ids, training=None):
        """Logits `(batch, time, vocabulary)` of the next token at every place."""
        x, _ = self._read(ids, bool(training))
        return self._logits(x)

    def start(
        self, prompt: Any, prompt_mask: Any = None, num_beams: int = 1, max_length: int = 64
    ) -> tuple[dict, dict]:
        """Reads the prompt in one pass.

        Args:
            prompt: ids `(batch, prompt)`, without START; padding may stand on either side.
            prompt_mask: not read: padding is 0.
            num_beams: hypotheses per prompt.
            max_length: maximum number of steps.

        Returns:
            `(constants, state)`; every leaf of `state` is `(batch, beams, ...)`.

        Raises:
            ValueError: if prompt and steps need more positions than the embedding has.
        """
        if prompt.shape[1] is not None:
            self.check_room(prompt.shape[1], max_length)
        start = ops.full_like(prompt[:, :1], START)
        ids = ops.concatenate([start, prompt], axis=1)  # (B, P)
        _, memories = self._read(ids, False)
        kept = masks.padding_mask(ids)
        # The first step asks for what follows the last token, so it takes that token anew.
        last = masks.last_mask(kept)  # (B, P)
        constants = {
            "prompt": masks.combine_masks(kept, ops.logical_not(last)),
            "last": last,
            "first_ids": ops.sum(ops.where(last, ids, 0), axis=1, keepdims=True),  # (B, 1)
            "steps": ops.arange(max_length, dtype="int32"),
        }
        caches = [
            {
                "values": _with_room(memory.values, max_length, num_beams),
                "keys": _with_room(memory.keys, max_length, num_beams),
            }
            for memory in memories
        ]
        return constants, {"caches": caches}

    def step(
        self, ids, position, state: dict, constants: dict, return_weights: bool = False
    ) -> tuple:
        """One step of every beam.

        Args:
            ids: `(batch, beams)` int, the last token of each; not read at position 0, where the
                prompt's last token counts.
            position: scalar int, how many tokens came before it, the prompt not counted.
            state: from `start` or the step before.
            constants: from `start`.
            return_weights: whether to return attention weights.

        Returns:
            `(logits, state, weights)`: `(batch, beams, vocabulary)`, the next state, and the last
            block's attention weights of the prompt, averaged over its heads, `(batch, beams,
            prompt)`, or None unless requested; the rest of each row is on START and on the
            generated tokens.
        """
        batch, beams = ops.shape(ids)
        prompt, steps = constants["prompt"], constants["steps"]
        ids = ops.where(ops.equal(position, 0), ops.cast(constants["first_ids"], ids.dtype), ids)
        written = ops.broadcast_to(steps <= position, (batch, steps.shape[0]))
        kept = ops.concatenate([prompt, written], axis=1)  # (B, P + L)
        kept = ops.repeat(kept, beams, axis=0)  # (B * K, P + L)
        place = ops.sum(ops.cast(kept, "int32"), axis=1, keepdims=True) - 1  # (B * K, 1)
        x = self.embedding(ids, positions=ops.reshape(place, (batch, beams)))  # (B, K, D)
        length = ops.shape(prompt)[1]  # P
        memories = [None] * len(self.blocks)
        x, state, scores = self._step(x, place, length + position, kept, state, memories)
        if not return_weights:
            return self._logits(x), state, None
        scores = ops.mean(scores, axis=1)  # (B * K, 1, P + L)
        scores = ops.reshape(scores, (batch, beams, ops.shape(kept)[1]))
        again = scores[:, :, length : length + 1]  # the last token's, where the first step put it
        scores = ops.where(ops.expand_dims(constants["last"], 1), again, scores[:, :, :length])
        return self._logits(x), state, scores[:, :, 1:]

    def check_room(self, prompt: int, length: int) -> None:
        """Raises a `ValueError` if a prompt and so many tokens more pass the learned table.

        START takes a place; the last token is written and not read.
        """
        what = f"a prompt of {prompt} tokens, padding counted, and {length} more"
        self.embedding.check_length(prompt + length, what)

    def _read(self, ids, training) -> tuple[Any, list[Memory]]:
        """Through all blocks, all places at once: x (B, T, D), and what each block kept."""
        kept = masks.padding_mask(ids)
        texts = ops.cumsum(ops.cast(ops.equal(ids, START), "int32"), axis=1)  # (B, T)
        length = ops.shape(ids)[1]
        mask = masks.combine_masks(
            masks.expand_key_mask(kept),
            masks.causal_mask(length, length),
            masks.segment_mask(texts, texts),
        )
        place = masks.segment_positions(texts, kept)
        x = self.embedding(ids, positions=place, training=training)
        memories = []
        for block in self.blocks:
            x, memory, _ = block.read(x, None, mask, place, training)
            memories.append(memory)
        return x, memories


def _with_room(x, length, beams):
    """(B, G, P, D) with room for `length` more, for each beam: (B, K, G, P + L, D)."""
    batch, groups, _, width = ops.shape(x)
    x = ops.concatenate([x, ops.zeros((batch, groups, length, width), x.dtype)], axis=2)
    return ops.repeat(ops.expand_dims(x, 1), beams, axis=1)
