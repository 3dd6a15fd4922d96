"""Luong's attention: four scores, global or in a window."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.base_attention import ScoredAttention
from keras_attention.layers.validation import check_same_width
from keras_attention.ops import masks, scores
from keras_attention.ops.attention import Memory, gaussian_window, masked_softmax, predicted_centers
from keras_attention.ops.blockwise import ADDITIVE_BLOCK_SIZE
from keras_attention.ops.linear import project
from keras_attention.ops.positions import as_positions
from keras_attention.types import Mask, Tensor
from keras_attention.utils.validation import check_one_of, check_positive

SCORE_MODES = ("dot", "general", "concat", "location")
WINDOWS = (None, "local-m", "local-p")


@keras.saving.register_keras_serializable(package="keras_attention")
class LuongAttention(ScoredAttention):
    """Luong's attention, global or local (Luong et al. 2015, equations 7 to 10).

    | `score_mode` | score of query `h_t` and key `h_s` |
    | --- | --- |
    | `"dot"` | `h_t . h_s` |
    | `"general"` | `h_t . W_a h_s` |
    | `"concat"` | `v_a . tanh(W_a [h_t; h_s])` |
    | `"location"` | `W_a h_t`, one score for each of `max_length` positions |

    A window restricts attention to `D = window_width` positions on either side of a center `p_t`:

    | `window` | `p_t` |
    | --- | --- |
    | `"local-m"` | `t`, the position of the query |
    | `"local-p"` | `S sigmoid(v_p . tanh(W_p h_t))`, S the length of the source without padding |

    With `"local-p"` the weights are multiplied by `exp(-(s - p_t)^2 / (2 sigma^2))`,
    `sigma = D / 2`, so they no longer sum to 1. Masked keys are not counted in the positions. A
    query whose window lies outside the source has weights 0 and context 0.

    Args:
        score_mode: `"dot"`, `"general"`, `"concat"` or `"location"`.
        units: width of the hidden layer of `"concat"`; `None` takes the width of the query.
        window: `None`, `"local-m"` or `"local-p"`.
        window_width: D.
        scale: whether to multiply the scores by a learned scalar, initially 1 (tfa.seq2seq's
            `scale`).
        max_length: maximum source length of `"location"`, required by it and by no other score.
            Keys beyond it have weight 0.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        query, value, ...: see `BaseAttention`.

    Raises:
        ValueError: If the score or the window is unknown, an argument does not apply to the score,
            or query and keys of `"dot"` differ in width when the layer is built.

    References:
        Luong et al. 2015, [Effective Approaches to Attention-based Neural Machine
        Translation](https://arxiv.org/abs/1508.04025).

    Example:

    >>> import numpy as np
    >>> layer = LuongAttention("general", window="local-p", window_width=2)
    >>> query, value = np.ones((2, 3, 5), "float32"), np.ones((2, 7, 6), "float32")
    >>> output, weights = layer(query, value, return_attention_scores=True)
    >>> tuple(output.shape), tuple(weights.shape)
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
        check_one_of("score_mode", score_mode, SCORE_MODES)
        check_one_of("window", window, WINDOWS)
        if units is not None and score_mode != "concat":
            raise ValueError(
                '`units` must be None unless score_mode="concat". '
                f"Received: score_mode={score_mode!r}, units={units}"
            )
        if (max_length is None) == (score_mode == "location"):
            raise ValueError(
                '`max_length` must be given if score_mode="location", and only then. '
                f"Received: score_mode={score_mode!r}, max_length={max_length}"
            )
        for name, size in (("units", units), ("max_length", max_length)):
            if size is not None:
                check_positive(name, size)
        check_positive("window_width", window_width)
        self.score_mode = score_mode
        self.units = units
        self.window = window
        self.window_width = window_width
        self.scale = scale
        self.max_length = max_length
        if score_mode == "concat":
            self.block_size = ADDITIVE_BLOCK_SIZE

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = key_shape or value_shape
        width = query_shape[-1]
        if self.score_mode == "dot":
            check_same_width(query_shape, key_shape)
        if self.score_mode == "general":
            self.key_dense = self.projection("key", width, key_shape)  # W_a
        if self.score_mode == "concat":
            units = self.units or width
            self.query_dense = self.projection("query", units, query_shape)  # W_a, its two parts
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

    @property
    def is_softmax(self) -> bool:
        return self.window is None and self.score_mode != "location"

    def project_keys(self, keys: Tensor) -> Tensor:
        return self.key_dense(keys) if self.score_mode in ("general", "concat") else keys

    def compute_scores(self, query: Tensor, memory: Memory) -> Tensor:
        """Computes equation 8."""
        if self.score_mode == "dot":
            result = scores.dot(query, memory.keys)
        elif self.score_mode == "general":
            result = scores.general(query, memory.keys)
        elif self.score_mode == "concat":
            query = self.query_dense(query)
            result = scores.concat(query, memory.keys, self.cast_weight(self.v))
        else:
            query = project(query, self.cast_weight(self.kernel))  # W_a h_t, (B, T, max_length)
            result = scores.location(query, _key_positions(memory))
        return result * ops.cast(self.g, result.dtype) if self.scale else result  # (B, T, S)

    def compute_weights(
        self, query: Tensor, memory: Memory, mask: Mask, positions: Tensor | None
    ) -> Tensor:
        key_positions = _key_positions(memory)  # (B or 1, 1, S)
        if self.score_mode == "location":
            mask = masks.combine_masks(mask, ops.less(key_positions, self.max_length))
        if self.window is None:
            return masked_softmax(self.compute_scores(query, memory), mask)  # equation 7
        centers = self.compute_centers(query, memory, positions)  # (B or 1, T, 1)
        window = masks.window_mask(key_positions, centers, self.window_width)  # (B or 1, T, S)
        mask = masks.combine_masks(mask, window)
        weights = masked_softmax(self.compute_scores(query, memory), mask)
        if self.window == "local-m":
            return weights
        factor = gaussian_window(key_positions, centers, self.window_width)  # equation 10
        return weights * ops.cast(factor, weights.dtype)

    def compute_centers(self, query: Tensor, memory: Memory, positions: Tensor | None) -> Tensor:
        """Computes the window centers `p_t`, (B or 1, T, 1)."""
        if self.window == "local-m":
            return ops.expand_dims(as_positions(positions, ops.shape(query)[1]), -1)
        if memory.mask is None:
            lengths = ops.reshape(ops.shape(memory.values)[1], (1,))
        else:
            lengths = ops.sum(ops.cast(memory.mask, "int32"), axis=-1)  # (B,)
        query = project(query, self.cast_weight(self.window_kernel))  # W_p h_t
        return predicted_centers(query, self.cast_weight(self.window_v), lengths)  # equation 9

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


def _key_positions(memory):
    """Returns the positions of the keys, counted over those not masked, (B or 1, 1, S)."""
    if memory.mask is None:
        length = ops.shape(memory.values)[1]
        return ops.reshape(ops.arange(length, dtype="int32"), (1, 1, -1))
    return ops.expand_dims(masks.positions_from_mask(memory.mask), 1)
