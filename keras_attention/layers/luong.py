"""Luong's attention: four scores, over the whole source or in a window of it."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.base_attention import ScoredAttention
from keras_attention.layers.validation import check_positive, check_width
from keras_attention.ops import masks, scores
from keras_attention.ops.attention import Memory, gaussian_window, masked_softmax, predicted_centers
from keras_attention.types import Tensor

SCORE_MODES = ("dot", "general", "concat", "location")
WINDOWS = (None, "local-m", "local-p")


@keras.saving.register_keras_serializable(package="keras_attention")
class LuongAttention(ScoredAttention):
    """Luong's attention (Luong et al. 2015, equations 7 to 10).

    | score | energy of query `h_t` and key `h_s` |
    | --- | --- |
    | `"dot"` | `h_t . h_s` |
    | `"general"` | `h_t . W_a h_s` |
    | `"concat"` | `v_a . tanh(W_a [h_t; h_s])` |
    | `"location"` | `W_a h_t`, one energy for each of `max_length` positions |

    A window of `D = window_width` to each side of a position `p_t` leaves the rest without weight:

    | window | `p_t` |
    | --- | --- |
    | `"local-m"` | `t`, the position of the query |
    | `"local-p"` | `S sigmoid(v_p . tanh(W_p h_t))`, S the length of the source without padding |

    With `"local-p"` the weights are multiplied by `exp(-(s - p_t)^2 / (2 sigma^2))`,
    `sigma = D / 2`, so they no longer add up to 1. Positions are counted over what the mask keeps.
    A query whose window lies outside of the source has weights 0 and context 0.

    Args:
        score_mode: One of the scores above.
        units: Width of the hidden layer of `"concat"`; `None` takes the width of the query.
        window: `None`, `"local-m"` or `"local-p"`.
        window_width: D.
        scale: Multiply the energies by a learned scalar, which starts at 1 (tfa.seq2seq's `scale`).
        max_length: Longest source of `"location"`, needed there alone. What stands behind it
            has weight 0.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Raises:
        ValueError: If the score or the window is unknown, an argument does not belong to the score,
            or, at build, query and keys of `"dot"` differ in width.

    References:
        Luong et al. 2015, [Effective Approaches to Attention-based Neural Machine
        Translation](https://arxiv.org/abs/1508.04025).

    Example:

    >>> import numpy as np
    >>> layer = LuongAttention("general", window="local-p", window_width=2)
    >>> query, value = np.ones((2, 3, 5), "float32"), np.ones((2, 7, 6), "float32")
    >>> output, scores = layer(query, value, return_attention_scores=True)
    >>> tuple(output.shape), tuple(scores.shape)
    ((2, 3, 6), (2, 3, 7))
    """

    def __init__(
        self,
        score_mode: str = "dot",
        units: int | None = None,
        window: str | None = None,
        window_width: float = 10,
        scale: bool = False,
        max_length: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if score_mode not in SCORE_MODES:
            raise ValueError(
                f"`score_mode` must be one of {SCORE_MODES}. Received: score_mode={score_mode!r}"
            )
        if window not in WINDOWS:
            raise ValueError(f"`window` must be one of {WINDOWS}. Received: window={window!r}")
        if units is not None and score_mode != "concat":
            raise ValueError(
                '`units` is the hidden width of the score "concat"; other scores have none. '
                f"Received: score_mode={score_mode!r}, units={units}"
            )
        if (max_length is None) == (score_mode == "location"):
            raise ValueError(
                '`max_length` must be given with the score "location", and with no other. '
                f"Received: score_mode={score_mode!r}, max_length={max_length}"
            )
        for name, number in (("units", units), ("max_length", max_length)):
            if number is not None:
                check_positive(name, number)
        check_positive("window_width", window_width)
        self.score_mode = score_mode
        self.units = units
        self.window = window
        self.window_width = window_width
        self.scale = scale
        self.max_length = max_length

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = key_shape or value_shape
        width = query_shape[-1]
        if self.score_mode == "dot":
            check_width(query_shape, key_shape)
        if self.score_mode == "general":
            self.key_dense = self.projection("key", width, key_shape)
        if self.score_mode == "concat":
            units = self.units or width
            self.query_dense = self.projection("query", units, query_shape)
            self.key_dense = self.projection("key", units, key_shape)
            self.v = self.add_weight(shape=(units,), initializer="glorot_uniform", name="v")
        if self.score_mode == "location":
            self.kernel = self.add_weight(shape=(width, self.max_length), name="kernel")
        if self.scale:
            self.g = self.add_weight(shape=(), initializer="ones", name="g")
        if self.window == "local-p":
            self.window_kernel = self.add_weight(shape=(width, width), name="window_kernel")
            self.window_v = self.add_weight(
                shape=(width,), initializer="glorot_uniform", name="window_v"
            )
        self.built = True

    def project_keys(self, keys: Any):
        return self.key_dense(keys) if self.score_mode in ("general", "concat") else keys

    def compute_scores(self, query: Tensor, memory: Memory) -> Tensor:
        if self.score_mode == "concat":
            query = self.query_dense(query)
            energies = scores.additive(query, memory.keys, self.cast_weight(self.v))
        elif self.score_mode == "location":
            energies = scores.location(query, self.cast_weight(self.kernel))  # (B, T, max_length)
            slots = ops.reshape(ops.arange(self.max_length, dtype="int32"), (1, -1, 1))
            chosen = ops.equal(slots, _places(memory))  # (B or 1, max_length, S)
            energies = ops.matmul(energies, ops.cast(chosen, energies.dtype))  # (B, T, S)
        else:
            energies = scores.dot(query, memory.keys)
        return energies * self.cast_weight(self.g) if self.scale else energies

    def compute_weights(self, query, memory, mask, positions):
        places = _places(memory)  # (B or 1, 1, S)
        if self.score_mode == "location":
            mask = masks.combine_masks(mask, ops.less(places, self.max_length))
        if self.window is None:
            return masked_softmax(self.compute_scores(query, memory), mask)
        centers = self.centers(query, memory, positions)  # (B, T, 1)
        mask = masks.combine_masks(mask, masks.window_mask(places, centers, self.window_width))
        weights = masked_softmax(self.compute_scores(query, memory), mask)
        if self.window == "local-m":
            return weights
        return weights * ops.cast(
            gaussian_window(places, centers, self.window_width), weights.dtype
        )

    def centers(self, query, memory, positions):
        """Where each query looks, `p_t`: (B or 1, T, 1)."""
        if self.window == "local-m":
            if positions is None:
                positions = ops.arange(ops.shape(query)[1], dtype="int32")
            positions = ops.convert_to_tensor(positions)
            if len(positions.shape) < 2:
                positions = ops.reshape(positions, (1, -1))
            return ops.expand_dims(positions, -1)
        if memory.mask is None:
            lengths = ops.reshape(ops.shape(memory.values)[1], (1,))
        else:
            lengths = ops.sum(ops.cast(memory.mask, "int32"), axis=-1)  # (B,)
        kernel, v = self.cast_weight(self.window_kernel), self.cast_weight(self.window_v)
        return predicted_centers(query, kernel, v, lengths)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "score_mode": self.score_mode,
            "units": self.units,
            "window": self.window,
            "window_width": self.window_width,
            "scale": self.scale,
            "max_length": self.max_length,
        }


def _places(memory):
    """The positions of the keys, counted over what is kept: (B or 1, 1, S)."""
    if memory.mask is None:
        length = ops.shape(memory.values)[1]
        return ops.reshape(ops.arange(length, dtype="int32"), (1, 1, -1))
    return ops.expand_dims(masks.positions_from_mask(memory.mask), 1)
