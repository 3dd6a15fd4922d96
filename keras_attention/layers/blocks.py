"""The blocks of the Transformer: each sub-layer is one line, as in the paper's figure 1."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.build import build_if_needed, deserialize_config
from keras_attention.layers.feed_forward import FeedForward
from keras_attention.layers.multi_head import MultiHeadAttention
from keras_attention.layers.positions import PositionEncoding
from keras_attention.layers.residual import Residual
from keras_attention.layers.self_attention import MultiHeadSelfAttention, mask_of_self
from keras_attention.layers.validation import check_divides
from keras_attention.ops.attention import Memory


class Block(keras.layers.Layer):
    """What both blocks have: self-attention and feed-forward, and their options.

    Args:
        num_heads: heads of the attention; must divide the width of the input.
        intermediate_dim: hidden width of the feed-forward layer.
        dropout: rate on what every sub-layer gives.
        attention_dropout: rate on the attention weights.
        intermediate_dropout: rate inside the feed-forward layer.
        norm: `"pre"`, `"post"` or `"sandwich"`: see `Residual`.
        norm_kind: `"layer"` or `"rms"`.
        activation: of the feed-forward layer: see `FeedForward`.
        num_key_value_heads: see `MultiHeadAttention`; so too the next five.
        use_bias: whether the linear layers have a bias.
        qk_norm: whether queries and keys are normalized.
        soft_cap: bound of the energies, or `None`.
        window: how far self-attention sees, or `None`.
        positions: a scheme of positions for self-attention, or `None`.
        stochastic_depth: rate of leaving a sub-layer out in training (Huang et al. 2016).
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.
    """

    def __init__(
        self,
        num_heads: int,
        intermediate_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        intermediate_dropout: float = 0.0,
        norm: str = "pre",
        norm_kind: str = "layer",
        activation: str = "relu",
        num_key_value_heads: int | None = None,
        use_bias: bool = True,
        qk_norm: bool = False,
        soft_cap: float | None = None,
        window: int | None = None,
        positions: PositionEncoding | None = None,
        stochastic_depth: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.options: dict[str, Any] = {
            "num_heads": num_heads,
            "intermediate_dim": intermediate_dim,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "intermediate_dropout": intermediate_dropout,
            "norm": norm,
            "norm_kind": norm_kind,
            "activation": activation,
            "num_key_value_heads": num_key_value_heads,
            "use_bias": use_bias,
            "qk_norm": qk_norm,
            "soft_cap": soft_cap,
            "window": window,
            "stochastic_depth": stochastic_depth,
        }
        self.positions = positions
        self.same = {"dtype": self.dtype_policy}
        self.feed_forward = FeedForward(
            intermediate_dim,
            activation,
            intermediate_dropout,
            use_bias,
            name="feed_forward",
            **self.same,
        )
        self.own = self.residual("own")
        self.feed = self.residual("feed")
        self.supports_masking = True

    def residual(self, name):
        names = "norm", "norm_kind", "dropout", "stochastic_depth"
        return Residual(**{n: self.options[n] for n in names}, name=name, **self.same)

    def attention_options(self, width):
        """What both kinds of attention take."""
        check_divides(self.options["num_heads"], width)
        shared = "num_heads", "num_key_value_heads", "use_bias", "qk_norm", "soft_cap"
        return {
            **{name: self.options[name] for name in shared},
            "key_dim": width // self.options["num_heads"],
            "dropout": self.options["attention_dropout"],
            **self.same,
        }

    def build(self, x_shape):
        self.self_attention = MultiHeadSelfAttention(
            **self.attention_options(x_shape[-1]),
            window=self.options["window"],
            positions=self.positions,
            name="self_attention",
        )
        for layer in (self.self_attention, self.feed_forward, self.own, self.feed):
            build_if_needed(layer, x_shape)
        self.built = True

    def _attend_to_self(self, mask, position=None, training=False):
        """The sub-layer; its memory and its scores stand aside."""

        def sublayer(x):
            output, memory, scores = self.self_attention.attend_to_self(
                x, mask, position, training=training
            )
            return output, (memory, scores)

        return sublayer

    def _feed_forward(self, training):
        return lambda x: (self.feed_forward(x, training=training), None)

    def get_config(self) -> dict:
        positions = keras.saving.serialize_keras_object(self.positions)
        return {**super().get_config(), **self.options, "positions": positions}

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_config(config, "positions"))


@keras.saving.register_keras_serializable(package="keras_attention")
class EncoderBlock(Block):
    """Self-attention, then feed-forward (Vaswani et al. 2017, figure 1, left).

    Args:
        num_heads, intermediate_dim, ...: as `Block` has them.

    Call arguments:
        x: (B, T, D).
        mask: Bool (B, T), what is looked at; the Keras mask of `x` where it is `None`.
        attention_mask: Bool (B, T, T), or of a shape that broadcasts to it.
        return_attention_scores: Return the pair `(x, scores)`.
        training: Whether there is dropout.

    Returns:
        (B, T, D), or the pair of it and the scores (B, H, T, T).

    Raises:
        ValueError: if `num_heads` does not divide the width, or an option is unknown.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762).

    Example:

    >>> import numpy as np
    >>> block = EncoderBlock(num_heads=2, intermediate_dim=32)
    >>> tuple(block(np.ones((2, 3, 16), "float32")).shape)
    (2, 3, 16)
    """

    def call(self, x, mask=None, attention_mask=None, return_attention_scores=False, training=None):
        mask = mask_of_self(x, mask, attention_mask, causal=False)
        training = bool(training)
        x, (_, scores) = self.own.around(x, self._attend_to_self(mask, training=training), training)
        x, _ = self.feed.around(x, self._feed_forward(training), training)
        return (x, scores) if return_attention_scores else x


@keras.saving.register_keras_serializable(package="keras_attention")
class DecoderBlock(Block):
    """Causal self-attention, attention to a memory, feed-forward (Vaswani et al. 2017, fig. 1).

    Without `cross_attention` it is the block of a language model.

    Args:
        num_heads, intermediate_dim, ...: as `Block` has them.
        cross_attention: whether there is a memory to look at.

    Call arguments:
        x: (B, T, D).
        encoded: (B, S, E), what cross-attention looks at.
        mask: Bool (B, T), what self-attention looks at.
        encoded_mask: Bool (B, S).
        attention_mask: Bool (B, T, T), joined with the causal mask.
        return_attention_scores: Return the pair `(x, scores)`: the scores of cross-attention
            (B, H, T, S), or without it of self-attention (B, H, T, T).
        training: Whether there is dropout.

    Returns:
        (B, T, D), or the pair of it and the scores.

    Raises:
        ValueError: if `num_heads` does not divide the width, an option is unknown, or there is
            cross-attention and nothing that it could look at.

    Example:

    >>> import numpy as np
    >>> block = DecoderBlock(num_heads=2, intermediate_dim=32)
    >>> x, encoded = np.ones((2, 3, 16), "float32"), np.ones((2, 5, 12), "float32")
    >>> tuple(block(x, encoded).shape)
    (2, 3, 16)
    """

    def __init__(
        self, num_heads: int, intermediate_dim: int, *args, cross_attention: bool = True, **kwargs
    ):
        super().__init__(num_heads, intermediate_dim, *args, **kwargs)
        self.options["cross_attention"] = cross_attention
        if cross_attention:
            self.cross = self.residual("cross")

    def build(self, x_shape, encoded_shape=None):
        if self.options["cross_attention"]:
            check_encoded(encoded_shape)
            self.cross_attention = MultiHeadAttention(
                **self.attention_options(x_shape[-1]), name="cross_attention"
            )
            self.cross_attention.build(x_shape, encoded_shape)
            build_if_needed(self.cross, x_shape)
        super().build(x_shape)

    def call(
        self,
        x,
        encoded=None,
        mask=None,
        encoded_mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=None,
    ):
        mask = mask_of_self(x, mask, attention_mask, causal=True)
        memory = self.memory(encoded, encoded_mask)
        x, _, scores = self.read(x, memory, mask, training=bool(training))
        return (x, scores) if return_attention_scores else x

    def memory(self, encoded: Any, mask: Any = None) -> Memory | None:
        """What cross-attention looks at, projected once for a sequence: (B, S, E)."""
        if not self.options["cross_attention"]:
            return None
        check_encoded(encoded)
        return self.cross_attention.memory(encoded, mask=mask)

    def read(
        self,
        x: Any,
        memory: Memory | None,
        mask: Any,
        position: Any = None,
        training: bool = False,
    ) -> tuple[Any, Memory, Any]:
        """All positions at once.

        Args:
            x: (B, T, D).
            memory: from `memory`.
            mask: Bool (B, T, T), the causal mask in it.
            position: see `MultiHeadAttention.attend`.
            training: whether there is dropout.

        Returns:
            `x` (B, T, D), the self-attention's memory, from which steps go on, and the scores as
            `call` has them.
        """
        attend_to_self = self._attend_to_self(mask, position, training)
        return self._through(x, attend_to_self, memory, training)

    def step(
        self, x: Any, memory: Memory | None, cache: Memory, mask: Any, position: Any, slot: Any
    ) -> tuple[Any, Memory, Any]:
        """One position more, for each of K beams.

        Args:
            x: (B, K, D).
            memory: from `memory`; all beams share it.
            cache: keys and values (B, K, G, L, D) of earlier positions, in L slots; positions
                (B * K, L) or (1, L).
            mask: Bool (B * K, 1, L) or (1, 1, L), the slots in use, this one among them.
            position: where it stands, int (B * K, 1) or (1, 1).
            slot: int scalar, the one it takes.

        Returns:
            `x` (B, K, D), the cache, and the scores: of cross-attention (B, H, K, S), else of
            self-attention (B * K, H, 1, L).
        """

        def attend_to_self(x):
            # Each beam has a past of its own, so here it is a row of the batch.
            output, own, scores = self.self_attention.attend_to_self(
                _rows(x, (1, x.shape[-1])), mask, position, _rows_of(cache), slot
            )
            after = cache._replace(
                values=ops.reshape(own.values, ops.shape(cache.values)),
                keys=ops.reshape(own.keys, ops.shape(cache.keys)),
            )
            return ops.reshape(output, ops.shape(x)), (after, scores)

        return self._through(x, attend_to_self, memory, False)

    def _through(self, x, attend_to_self, memory, training):
        x, (own, scores) = self.own.around(x, attend_to_self, training)
        if memory is not None:
            x, scores = self.cross.around(x, self._attend_to(memory, training), training)
        x, _ = self.feed.around(x, self._feed_forward(training), training)
        return x, own, scores

    def _attend_to(self, memory, training):
        def sublayer(x):
            output, weights, _ = self.cross_attention.attend(
                x, memory, return_weights=True, training=training
            )
            return output, weights

        return sublayer


def check_encoded(encoded: Any) -> None:
    """Cross-attention has to have something to look at."""
    if encoded is None:
        raise ValueError(
            "encoded: expected what cross-attention looks at, (B, S, E); without it the block is "
            "made with cross_attention=False. Received: encoded=None"
        )


def _rows_of(cache):
    shape = ops.shape(cache.keys)[2:], ops.shape(cache.values)[2:]
    return cache._replace(keys=_rows(cache.keys, shape[0]), values=_rows(cache.values, shape[1]))


def _rows(x, shape):
    """(B, K, ...) as (B * K, ...)."""
    batch, beams = ops.shape(x)[:2]
    return ops.reshape(x, (batch * beams, *shape))
