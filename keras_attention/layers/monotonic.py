"""Monotonic attention: trained on its expectation, decoded with hard choices."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.bahdanau import BahdanauAttention
from keras_attention.layers.base_attention import ScoredAttention
from keras_attention.layers.luong import LuongAttention
from keras_attention.ops import masks
from keras_attention.ops.attention import AttentionOutput, Memory, context
from keras_attention.ops.loop import scan
from keras_attention.ops.monotonic import MODES
from keras_attention.types import Mask, Tensor
from keras_attention.utils.validation import check_one_of, check_positive

SCORE_MODES = ("bahdanau", "luong")


@keras.saving.register_keras_serializable(package="keras_attention")
class MonotonicAttention(ScoredAttention):
    """Attention that moves only forward along the keys (Raffel et al. 2017).

    A query starts at the key that the previous query attended to, visits the keys in order, and
    stops at each with probability `sigmoid(score)`. The state is therefore the weights of the
    previous query. Calling the layer runs the queries in order; `attend` takes the state of each
    query, or starts with `initial_state`. The weights of a query sum to at most 1; the rest is the
    probability of passing the last key.

    Train in mode "parallel" or "recursive", with noise that pushes the probabilities towards 0 or
    1, and decode in mode "hard"; the layer's weights are the same in all modes.

    Args:
        units: width of the hidden layer of the score "bahdanau"; for "luong" the width of the
            query.
        score_mode: `"bahdanau"` (additive) or `"luong"` (general), the two mechanisms of
            tfa.seq2seq.
        normalize: whether the score has a learned scale, as recommended in section 2.4 of the
            paper: `g v / ||v||` and a bias for "bahdanau", a scalar for "luong".
        mode: `"parallel"`: expected attention, linear in S. `"recursive"`: the same without
            clipping, quadratic in S. `"hard"`: the first key with `sigmoid(score) > 0.5`.
        sigmoid_noise: standard deviation of the normal noise added to the scores in training.
        score_bias_init: initial value of the bias `r` added to the scores. Negative values start
            with attention that reaches far.
        seed: seed of the noise.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        query, value, ...: see `BaseAttention`.

    Raises:
        ValueError: If the score or the mode is unknown, `units` is not positive or does not match
            the query of "luong", or `sigmoid_noise` is negative.

    References:
        Raffel et al. 2017, [Online and Linear-Time Attention by Enforcing Monotonic
        Alignments](https://arxiv.org/abs/1704.00784).

    Example:

    >>> import numpy as np
    >>> layer = MonotonicAttention(units=4, mode="hard", score_bias_init=1.0)
    >>> query, value = np.zeros((1, 2, 5), "float32"), np.zeros((1, 3, 6), "float32")
    >>> output, weights = layer(query, value, return_attention_scores=True)
    >>> [[float(weight) for weight in row] for row in weights[0]]
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
        check_one_of("score_mode", score_mode, SCORE_MODES)
        check_one_of("mode", mode, tuple(MODES))
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
        if score_mode == "bahdanau":
            self.scorer = BahdanauAttention(
                units, normalize, name="scorer", dtype=self.dtype_policy
            )
        else:
            self.scorer = LuongAttention(
                "general", scale=normalize, name="scorer", dtype=self.dtype_policy
            )
        if sigmoid_noise:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, query_shape, value_shape, key_shape=None):
        if self.score_mode == "luong" and query_shape[-1] != self.units:
            raise ValueError(
                'If score_mode="luong", `units` must be the width of the query. '
                f"Received: units={self.units}, query_shape={query_shape}"
            )
        self.scorer.build(query_shape, value_shape, key_shape)
        bias = keras.initializers.Constant(self.score_bias_init)
        self.score_bias = self.add_weight(shape=(), initializer=bias, name="score_bias")
        self.built = True

    def project_keys(self, keys: Tensor) -> Tensor:
        return self.scorer.project_keys(keys)

    def compute_scores(self, query: Tensor, memory: Memory) -> Tensor:
        result = self.scorer.compute_scores(query, memory)
        return result + ops.cast(self.score_bias, result.dtype)

    def compute_probabilities(
        self, query: Tensor, memory: Memory, mask: Mask, training: bool
    ) -> Tensor:
        """Computes the probability of stopping at each key, `p`, (B, T, S); 0 at masked keys."""
        result = self.compute_scores(query, memory)
        if training and self.sigmoid_noise:
            noise = keras.random.normal(
                ops.shape(result), dtype=result.dtype, seed=self.seed_generator
            )
            result = result + self.sigmoid_noise * noise
        p = ops.greater(result, 0) if self.mode == "hard" else ops.sigmoid(result)
        p = ops.cast(p, self.compute_dtype)
        return p if mask is None else ops.where(mask, p, ops.zeros_like(p))

    def initial_state(self, memory: Memory, num_queries: int) -> Tensor:
        """Returns weights of 1 at the first unmasked key, (B, num_queries, S)."""
        batch, length = ops.shape(memory.values)[:2]
        if memory.mask is None:
            first = ops.one_hot([0], length, dtype=self.compute_dtype)
            first = ops.expand_dims(first, 0)  # (1, 1, S)
        else:
            first = ops.expand_dims(masks.first_mask(memory.mask), 1)
            first = ops.cast(first, self.compute_dtype)  # (B, 1, S)
        return first + ops.zeros((batch, num_queries, length), dtype=self.compute_dtype)

    def attend(
        self,
        query: Tensor,
        memory: Memory,
        *,
        mask: Mask = None,
        state: Tensor | None = None,
        positions: Tensor | None = None,
        return_weights: bool = False,
        training: bool = False,
    ) -> AttentionOutput:
        query, mask = self._prepare_dense(query, memory, mask)
        if state is None:
            state = self.initial_state(memory, ops.shape(query)[1])
        p_choose = self.compute_probabilities(query, memory, mask, training)
        weights = MODES[self.mode](p_choose, state)  # (B, T, S)
        return AttentionOutput(
            context(weights, memory.values), weights if return_weights else None, weights
        )

    def attend_sequence(
        self,
        queries: Tensor,
        memory: Memory,
        *,
        mask: Mask = None,
        return_weights: bool = False,
        training: bool = False,
    ) -> AttentionOutput:
        queries, mask = self._prepare_dense(queries, memory, mask)
        p_choose = self.compute_probabilities(queries, memory, mask, training)  # (B, T, S)
        start = ops.squeeze(self.initial_state(memory, 1), 1)  # (B, S)
        active = ops.ones_like(p_choose[..., :1], dtype="bool")
        if mask is not None:
            active = ops.logical_and(active, ops.any(mask, axis=-1, keepdims=True))  # (B, T, 1)

        def step(previous, inputs):
            p_choose, active = inputs
            weights = MODES[self.mode](ops.expand_dims(p_choose, 1), ops.expand_dims(previous, 1))
            weights = ops.squeeze(weights, 1)  # (B, S)
            # A masked query does not change the state.
            return ops.where(active, weights, previous), weights

        state, weights = scan(step, start, (p_choose, active), start, training=training)
        return AttentionOutput(
            context(weights, memory.values),
            weights if return_weights else None,
            ops.expand_dims(state, 1),  # (B, 1, S)
        )

    def _prepare_dense(self, query, memory, mask):
        """Returns the query in the compute dtype, and the mask of all pairs or `None`."""
        query, mask = self._prepare_query(query, memory, mask)
        return query, mask.dense(ops.shape(query)[1], ops.shape(memory.values)[1])

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
