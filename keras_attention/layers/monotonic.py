"""Monotonic attention: trained on its expectation, decoded by hard choices."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.bahdanau import BahdanauAttention
from keras_attention.layers.base_attention import ScoredAttention
from keras_attention.layers.luong import LuongAttention
from keras_attention.layers.validation import check_positive
from keras_attention.ops import masks
from keras_attention.ops.attention import AttentionOutput, Memory, context
from keras_attention.ops.loop import scan
from keras_attention.ops.monotonic import MODES
from keras_attention.types import Tensor

SCORE_MODES = ("bahdanau", "luong")


@keras.saving.register_keras_serializable(package="keras_attention")
class MonotonicAttention(ScoredAttention):
    """Attention that only moves forward (Raffel et al. 2017).

    A query stands where the query before it attended, and stops at a key with probability
    `sigmoid(energy)`. Called on a sequence of queries, the layer runs them in order; `attend` takes
    the previous alignment of each query as `state`, or starts with `initial_state`. Rows sum to
    at most 1: the rest is the chance to run past the end.

    Train it with mode "parallel" or "recursive", with noise so that the choices become sharp, and
    decode with mode "hard"; the weights are the same in all modes.

    Args:
        units: Width of the hidden layer of the score "bahdanau"; for "luong" the width of the
            query.
        score_mode: `"bahdanau"` (additive) or `"luong"` (general), the two mechanisms of
            tfa.seq2seq.
        normalize: Give the score a learned scale, as section 2.4 of the paper recommends:
            `g v / ||v||` and a bias for "bahdanau", a scalar for "luong".
        mode: `"parallel"`: expected attention, linear in S. `"recursive"`: the same without
            clipping, quadratic in S. `"hard"`: the first key with `sigmoid(energy) > 0.5`.
        sigmoid_noise: Standard deviation of normal noise on the energies in training.
        score_bias_init: First value of the bias `r` on the energies. Negative ones start with
            attention that reaches far.
        seed: Seed of the noise.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Raises:
        ValueError: If the score or the mode is unknown, `units` is below 1 or does not fit the
            query of "luong", or `sigmoid_noise` is negative.

    References:
        Raffel et al. 2017, [Online and Linear-Time Attention by Enforcing Monotonic
        Alignments](https://arxiv.org/abs/1704.00784).

    Example:

    >>> import numpy as np
    >>> layer = MonotonicAttention(units=4, mode="hard", score_bias_init=1.0)
    >>> query, value = np.zeros((1, 2, 5), "float32"), np.zeros((1, 3, 6), "float32")
    >>> output, scores = layer(query, value, return_attention_scores=True)
    >>> [[float(score) for score in row] for row in scores[0]]
    [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        units: int,
        score_mode: str = "bahdanau",
        normalize: bool = False,
        mode: str = "parallel",
        sigmoid_noise: float = 0.0,
        score_bias_init: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if score_mode not in SCORE_MODES:
            raise ValueError(
                f"`score_mode` must be one of {SCORE_MODES}. Received: score_mode={score_mode!r}"
            )
        if mode not in MODES:
            raise ValueError(f"`mode` must be one of {tuple(MODES)}. Received: mode={mode!r}")
        check_positive("units", units)
        if sigmoid_noise < 0:
            raise ValueError(
                f"`sigmoid_noise` must not be negative. Received: sigmoid_noise={sigmoid_noise}"
            )
        self.units = units
        self.score_mode = score_mode
        self.normalize = normalize
        self.mode = mode
        self.sigmoid_noise = sigmoid_noise
        self.score_bias_init = score_bias_init
        self.seed = seed
        common = {"name": "scorer", "dtype": self.dtype_policy}
        if score_mode == "bahdanau":
            self.scorer = BahdanauAttention(units, normalize, **common)
        else:
            self.scorer = LuongAttention("general", scale=normalize, **common)
        if sigmoid_noise:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, query_shape, value_shape, key_shape=None):
        if self.score_mode == "luong" and query_shape[-1] != self.units:
            raise ValueError(
                'With score_mode="luong" `units` is the width of the query. '
                f"Received: units={self.units}, query_shape={query_shape}"
            )
        self.scorer.build(query_shape, value_shape, key_shape)
        start = keras.initializers.Constant(self.score_bias_init)
        self.score_bias = self.add_weight(shape=(), initializer=start, name="score_bias")
        self.built = True

    def project_keys(self, keys: Any):
        return self.scorer.project_keys(keys)

    def compute_scores(self, query: Tensor, memory: Memory) -> Tensor:
        return self.scorer.compute_scores(query, memory) + self.cast_weight(self.score_bias)

    def initial_state(self, memory: Memory, num_queries: int) -> Tensor:
        """Returns all attention on the first key that is not masked, (B, num_queries, S)."""
        batch, length = ops.shape(memory.values)[:2]
        if memory.mask is None:
            first = ops.one_hot([0], length, dtype=self.compute_dtype)
            first = ops.expand_dims(first, 0)  # (1, 1, S)
        else:
            is_first = masks.combine_masks(
                ops.equal(masks.positions_from_mask(memory.mask), 0), memory.mask
            )
            first = ops.cast(ops.expand_dims(is_first, 1), self.compute_dtype)  # (B, 1, S)
        return first + ops.zeros((batch, num_queries, length), dtype=self.compute_dtype)

    def attend(
        self,
        query,
        memory,
        *,
        mask=None,
        state=None,
        positions=None,
        return_weights=False,
        training=False,
    ) -> AttentionOutput:
        query, mask = self._prepare_query(query, memory, mask)
        if state is None:
            state = self.initial_state(memory, ops.shape(query)[1])
        weights = MODES[self.mode](self.choose(query, memory, mask, training), state)
        return AttentionOutput(
            context(weights, memory.values), weights if return_weights else None, weights
        )

    def attend_sequence(
        self, queries, memory, *, mask=None, return_weights=False, training=False
    ) -> AttentionOutput:
        queries, mask = self._prepare_query(queries, memory, mask)
        choose = self.choose(queries, memory, mask, training)  # (B, T, S)
        start = ops.squeeze(self.initial_state(memory, 1), 1)  # (B, S)
        active = ops.ones_like(choose[..., :1], dtype="bool")
        if mask is not None:
            active = ops.logical_and(active, ops.any(mask, axis=-1, keepdims=True))  # (B, T, 1)

        def step(previous, inputs):
            choose, active = inputs
            weights = MODES[self.mode](ops.expand_dims(choose, 1), ops.expand_dims(previous, 1))
            weights = ops.squeeze(weights, 1)  # (B, S)
            # A masked query does not move the state.
            return ops.where(active, weights, previous), weights

        state, weights = scan(step, start, (choose, active), start)
        return AttentionOutput(
            context(weights, memory.values),
            weights if return_weights else None,
            ops.expand_dims(state, 1),
        )

    def choose(self, query, memory, mask, training):
        """The probability of stopping at each key, `p`: (B, T, S)."""
        energies = self.compute_scores(query, memory)
        if training and self.sigmoid_noise:
            noise = keras.random.normal(
                ops.shape(energies), dtype=energies.dtype, seed=self.seed_generator
            )
            energies = energies + self.sigmoid_noise * noise
        p = ops.greater(energies, 0) if self.mode == "hard" else ops.sigmoid(energies)
        p = ops.cast(p, energies.dtype)
        return p if mask is None else ops.where(mask, p, ops.zeros_like(p))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "score_mode": self.score_mode,
            "normalize": self.normalize,
            "mode": self.mode,
            "sigmoid_noise": self.sigmoid_noise,
            "score_bias_init": self.score_bias_init,
            "seed": self.seed,
        }
