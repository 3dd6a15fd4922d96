"""The decoder contract, kept by a stack of Transformer blocks."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.blocks import DecoderBlock
from keras_attention.layers.build import build_if_needed, deserialize_config
from keras_attention.layers.embedding import TokenEmbedding, check_output
from keras_attention.layers.transformer import final_norm, stack
from keras_attention.ops import masks
from keras_attention.ops.attention import Memory


@keras.saving.register_keras_serializable(package="keras_attention")
class TransformerDecoder(keras.layers.Layer):
    """Embedding -> decoder blocks -> logits (Vaswani et al. 2017, figure 1, right).

    Args:
        embedding: a `TokenEmbedding` with an output.
        block: a `DecoderBlock`; the stack is made of blocks like it. Its stochastic depth is the
            last block's rate: it grows linearly from 0.
        num_layers: how many.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Raises:
        ValueError: if the embedding has no output, or `num_layers` is below 1.

    Example:

    >>> import numpy as np
    >>> from keras_attention.layers import DecoderBlock, TokenEmbedding
    >>> embedding = TokenEmbedding(12, 8, output="tied", scale=True, positions="sinusoidal")
    >>> block = DecoderBlock(num_heads=2, intermediate_dim=16)
    >>> decoder = TransformerDecoder(embedding, block, num_layers=2)
    >>> encoded = {"sequence": np.ones((2, 5, 6), "float32")}
    >>> tuple(decoder(np.array([[1, 5, 6]] * 2), encoded).shape)
    (2, 3, 12)
    """

    def __init__(
        self, embedding: TokenEmbedding, block: DecoderBlock, num_layers: int, **kwargs: Any
    ):
        super().__init__(**kwargs)
        check_output(embedding)
        self.embedding = embedding
        self.block = block.get_config()
        self.blocks = stack(block, num_layers, self.dtype_policy)
        self.norm = final_norm(block, self.dtype_policy)

    @property
    def vocabulary_size(self) -> int:
        """Number of target ids."""
        return self.embedding.vocabulary_size

    def build(self, target_ids_shape, encoded_shape=None):
        build_if_needed(self.embedding, target_ids_shape)
        x_shape = (*target_ids_shape, self.embedding.embedding_dim)
        looked_at = () if encoded_shape is None else (encoded_shape["sequence"],)
        for block in self.blocks:
            build_if_needed(block, x_shape, *looked_at)
        for norm in self.norm:
            norm.build(x_shape)
        self.built = True

    def compute_output_shape(self, target_ids_shape, encoded_shape=None):
        return (*target_ids_shape, self.vocabulary_size)

    def call(self, target_ids, encoded, encoded_mask=None, training=None):
        """Teacher forcing: logits `(batch, time, vocabulary)` of all steps at once."""
        if isinstance(encoded_mask, dict):  # Keras fills in one that was left out
            encoded_mask = encoded_mask["sequence"]
        kept = masks.padding_mask(target_ids)
        length = ops.shape(target_ids)[1]
        mask = masks.combine_masks(masks.expand_key_mask(kept), masks.causal_mask(length, length))
        place = masks.positions_from_mask(kept)
        x = self.embedding(target_ids, positions=place, training=training)  # (B, T, D)
        for block in self.blocks:
            memory = block.memory(encoded["sequence"], encoded_mask)
            x, *_ = block.read(x, memory, mask, place, bool(training))
        return self._logits(x)

    def start(
        self, encoded: dict, encoded_mask: Any = None, num_beams: int = 1, max_length: int = 64
    ) -> tuple[dict, dict]:
        """What all steps and beams share, and the state before the first step.

        Args:
            encoded: `{"sequence": (batch, source, width)}`.
            encoded_mask: `(batch, source)` bool, True is kept.
            num_beams: hypotheses per sequence.
            max_length: maximum number of steps.

        Returns:
            `(constants, state)`; every leaf of `state` is `(batch, beams, ...)`.

        Raises:
            ValueError: if the steps need more positions than the embedding has.
        """
        self.embedding.check_length(max_length, "the steps")
        sequence = encoded["sequence"]
        constants = {"memories": [block.memory(sequence, encoded_mask) for block in self.blocks]}
        rows = (ops.shape(sequence)[0], num_beams)
        return constants, {
            "caches": [empty_cache(block, rows, max_length) for block in self.blocks]
        }

    def step(
        self, ids, position, state: dict, constants: dict, return_weights: bool = False
    ) -> tuple:
        """One step of every beam.

        Args:
            ids: `(batch, beams)` int, the last token of each.
            position: scalar int, how many tokens came before it.
            state: from `start` or the step before.
            constants: from `start`.
            return_weights: whether to return attention weights.

        Returns:
            `(logits, state, weights)`: `(batch, beams, vocabulary)`, the next state, and
            the weights of the last block's cross-attention, averaged over its heads, `(batch,
            beams, source)`, or None unless requested.
        """
        slots = ops.arange(state["caches"][0]["keys"].shape[3], dtype="int32")
        kept = ops.expand_dims(slots <= position, 0)  # (1, L)
        place = ops.reshape(position, (1, 1))
        x = self.embedding(ids, positions=place)  # (B, K, D)
        x, state, scores = self._step(x, place, position, kept, state, constants["memories"])
        return self._logits(x), state, ops.mean(scores, axis=1) if return_weights else None

    def _step(self, x, place, slot, kept, state, memories):
        """Through all blocks: x (B, K, D), the state, and the last block's scores."""
        places, mask = masks.positions_from_mask(kept), masks.expand_key_mask(kept)
        caches = []
        for block, memory, cache in zip(self.blocks, memories, state["caches"], strict=True):
            cache = Memory(cache["values"], cache["keys"], None, places)
            x, cache, scores = block.step(x, memory, cache, mask, place, slot)
            caches.append({"values": cache.values, "keys": cache.keys})
        return x, {"caches": caches}, scores

    def _logits(self, x):
        for norm in self.norm:
            x = norm(x)
        return self.embedding.logits(x)

    def get_config(self) -> dict:
        block = DecoderBlock.from_config(self.block)
        return {
            **super().get_config(),
            "embedding": keras.saving.serialize_keras_object(self.embedding),
            "block": keras.saving.serialize_keras_object(block),
            "num_layers": len(self.blocks),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_config(config, "embedding", "block"))


def empty_cache(block: DecoderBlock, rows: tuple, length: int) -> dict:
    """Room for keys and values, `(batch, beams, heads, length, width of a head)`."""
    attention = block.self_attention
    shape = (*rows, attention.num_key_value_heads, length)
    return {
        "values": ops.zeros((*shape, attention.value_dim), attention.compute_dtype),
        "keys": ops.zeros((*shape, attention.key_dim), attention.compute_dtype),
    }
