"""Encoder block of the Transformer, as in figure 1 of Vaswani et al. 2017."""

import keras

from keras_attention.layers.positions import PositionEncoding
from keras_attention.layers.self_attention import self_attention_mask
from keras_attention.layers.transformer_block import TransformerBlock
from keras_attention.types import Mask, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class EncoderBlock(TransformerBlock):
    """Encoder block of the Transformer: self-attention, then a feed-forward network.

    Vaswani et al. 2017, figure 1, left. The constructor has the arguments of `TransformerBlock`.

    Call arguments:
        x: Sequence, `(B, T, D)`.
        mask: Bool `(B, T)`, True means attend; the Keras mask of `x` by default.
        attention_mask: Bool `(B, T, T)`, or of a shape that broadcasts to it.
        position_bias: `PositionEncoding` shared by all blocks of a stack, such as
            `RelativePositionBias`, or `None`.
        return_attention_scores: Whether to return the pair `(x, weights)`.
        training: Whether to apply dropout.

    Returns:
        The output `(B, T, D)`, or the pair of it and the attention weights `(B, H, T, T)`.

    Raises:
        ValueError: If `num_heads` does not divide the size of the input, or an option is unknown.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762).

    Example:

    >>> import numpy as np
    >>> block = EncoderBlock(num_heads=2, intermediate_dim=32)
    >>> tuple(block(np.ones((2, 3, 16), "float32")).shape)
    (2, 3, 16)
    """

    def call(
        self,
        x: Tensor,
        mask: Mask = None,
        attention_mask: Mask = None,
        position_bias: PositionEncoding | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        mask = self_attention_mask(x, mask, attention_mask)
        training = bool(training)

        y, weights, _ = self.self_attention.attend_to_self(
            self.self_attention_residual.before(x),
            mask=mask,
            position_bias=position_bias,
            return_weights=return_attention_scores,
            training=training,
        )
        x = self.self_attention_residual.after(x, y, training)
        y = self.feed_forward(self.feed_forward_residual.before(x), training=training)
        x = self.feed_forward_residual.after(x, y, training)
        return (x, weights) if return_attention_scores else x
