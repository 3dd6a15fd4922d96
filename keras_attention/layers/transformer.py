"""A stack of encoder blocks as the body of a `TextEncoder`."""

from typing import Any

import keras

from keras_attention.layers.blocks import Block, EncoderBlock
from keras_attention.layers.build import build_if_needed, deserialize_config
from keras_attention.layers.residual import make_norm
from keras_attention.layers.validation import check_positive


@keras.saving.register_keras_serializable(package="keras_attention")
class TransformerEncoder(keras.layers.Layer):
    """Blocks one above the other, each with weights of its own.

    Args:
        block: an `EncoderBlock`; the stack is made of blocks like it. Its stochastic depth is the
            last block's rate: it grows linearly from 0 (Huang et al. 2016, section 3).
        num_layers: how many.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Call arguments:
        x: (B, S, D).
        mask: Bool (B, S), what is looked at.
        attention_mask: Bool (B, S, S), or of a shape that broadcasts to it.
        training: whether there is dropout.

    Returns:
        `{"sequence": (B, S, D)}`.

    Raises:
        ValueError: if `num_layers` is below 1.

    Example:

    >>> import numpy as np
    >>> encoder = TransformerEncoder(EncoderBlock(num_heads=2, intermediate_dim=32), num_layers=3)
    >>> tuple(encoder(np.ones((2, 5, 16), "float32"))["sequence"].shape)
    (2, 5, 16)
    """

    def __init__(self, block: EncoderBlock, num_layers: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.block = block.get_config()
        self.blocks = stack(block, num_layers, self.dtype_policy)
        self.norm = final_norm(block, self.dtype_policy)
        self.supports_masking = True

    def build(self, x_shape):
        for layer in [*self.blocks, *self.norm]:
            build_if_needed(layer, x_shape)
        self.built = True

    def call(self, x, mask=None, attention_mask=None, training=None):
        for block in self.blocks:
            x = block(x, mask=mask, attention_mask=attention_mask, training=training)
        for norm in self.norm:
            x = norm(x)
        return {"sequence": x}

    def compute_mask(self, x, mask=None):
        return None  # callers pass it on: Keras would hang it on the dictionary

    def get_config(self) -> dict:
        block = EncoderBlock.from_config(self.block)
        return {
            **super().get_config(),
            "block": keras.saving.serialize_keras_object(block),
            "num_layers": len(self.blocks),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_config(config, "block"))


def stack(block: Block, num_layers: int, dtype: Any) -> list[Block]:
    """Blocks like the given one, with weights of their own."""
    check_positive("num_layers", num_layers)
    # One scheme of positions for all, as T5 has it (Raffel et al. 2020, section 2.1).
    config = {**block.get_config(), "positions": block.positions, "dtype": dtype}
    deepest = config["stochastic_depth"]
    return [
        type(block).from_config(
            {
                **config,
                "name": f"block_{depth}",
                "stochastic_depth": deepest * depth / max(num_layers - 1, 1),
            }
        )
        for depth in range(num_layers)
    ]


def final_norm(block: Block, dtype: Any) -> list[keras.layers.Layer]:
    """The norm above a stack: blocks that end in one need none."""
    if block.options["norm"] == "post":
        return []
    return [make_norm(block.options["norm_kind"], name="norm", dtype=dtype)]
