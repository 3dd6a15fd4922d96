"""Blockwise and explicit attention against float64 NumPy, forward and gradients.

Many examples are drawn by `pytest tests/ops/test_blockwise.py --hypothesis-profile=thorough`.
"""

from typing import NamedTuple

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops

from helpers import array, gradients
from keras_attention.layers.positions import AlibiBias, RelativePositionBias
from keras_attention.ops import scores
from keras_attention.ops.attention import AttentionOptions, Memory, explicit_attention
from keras_attention.ops.attention_mask import AttentionMask
from keras_attention.ops.fused import FusedAttention
from keras_attention.ops.noise import SeededDropout

B, D, DV, BLOCK = 2, 4, 3, 4
# JAX compiles each example; tests/layers/test_fused_attention.py has quick ones
slow_on_jax = pytest.mark.slow if keras.backend.backend() == "jax" else lambda test: test
PARTS = ("queries", "keys", "causal", "pairs", "window", "segments", "empty row", "key row")


class Case(NamedTuple):
    """Sizes and options of attention.

    Attributes:
        queries: number of queries.
        keys: number of keys; `None` is that of the queries.
        heads: heads of the queries and of the keys; `None` is no axis of heads.
        masks: parts of the mask.
        soft_cap: bound of the scores.
        bias: bias of the scores, `"alibi"`, `"table"` or `None`.
        dropout: rate.
        seed: seed of the numbers.
    """

    queries: int = 9
    keys: int | None = None
    heads: tuple[int, int] | None = (4, 2)
    masks: frozenset = frozenset()
    soft_cap: float | None = None
    bias: str | None = None
    dropout: float = 0.0
    seed: int = 0


cases = st.builds(
    Case,
    queries=st.sampled_from([9, 1, 4, 8, 11]),
    keys=st.sampled_from([None, None, 3, 10]),
    heads=st.sampled_from([(4, 2), (2, 2), (2, 1), None]),
    masks=st.frozensets(st.sampled_from(PARTS)),
    soft_cap=st.sampled_from([None, 0.7]),
    bias=st.sampled_from([None, "alibi", "table"]),
    dropout=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 10_000),
)


def draw_mask(rng, case, num_keys):
    """Returns an `AttentionMask` and the same mask of all pairs, bool (B, T, S)."""
    queries = case.queries
    dense = np.ones((B, queries, num_keys), bool)
    parts = {}
    if "queries" in case.masks:
        parts["queries"] = rng.random((B, queries)) < 0.8
        dense &= parts["queries"][:, :, None]
    if "keys" in case.masks:
        parts["keys"] = np.arange(num_keys) < rng.integers(0, num_keys + 1, (B, 1))
        dense &= parts["keys"][:, None]
    if "causal" in case.masks:
        parts["causal"] = True
        dense &= np.tri(queries, num_keys, dtype=bool)
    if {"pairs", "empty row", "key row"} & case.masks:
        rows = 1 if "key row" in case.masks else queries
        parts["pairs"] = rng.random((B, rows, num_keys)) < 0.6
        if "empty row" in case.masks:
            parts["pairs"][0, 0] = False
        dense &= parts["pairs"]
    if "window" in case.masks:
        positions = [np.sort(rng.integers(0, 12, (B, n)), 1) for n in (queries, num_keys)]
        parts |= {"window": 4, "query_positions": positions[0], "key_positions": positions[1]}
        dense &= np.abs(positions[0][:, :, None] - positions[1][:, None]) < 4
    if "segments" in case.masks:
        segments = [np.sort(rng.integers(0, 3, (B, n)), 1) for n in (queries, num_keys)]
        parts |= {"query_segments": segments[0], "key_segments": segments[1]}
        dense &= segments[0][:, :, None] == segments[1][:, None]
    parts = {k: ops.convert_to_tensor(x) if isinstance(x, np.ndarray) else x
             for k, x in parts.items()}  # fmt: skip
    return AttentionMask(**parts), dense


def encoding_of(case):
    heads = case.heads[0] if case.heads else 1
    encoding = {"alibi": AlibiBias, "table": RelativePositionBias}[case.bias](heads)
    encoding.build()
    return encoding


def expected(case, query, keys, values, dense, bias, factors, cotangent):
    """Context and the gradients of its product with `cotangent`, from the equations."""
    heads, groups = case.heads
    k, v = (np.repeat(x, heads // groups, 1) for x in (keys, values))
    s = query @ k.swapaxes(2, 3) / np.sqrt(D)
    slope = np.ones_like(s)
    if case.soft_cap:
        tanh = np.tanh(s / case.soft_cap)
        s, slope = case.soft_cap * tanh, 1 - tanh**2
    exponentials = np.exp(s + bias) * dense[:, None]
    total = exponentials.sum(-1, keepdims=True)
    p = exponentials / np.where(total == 0, 1, total)
    weights_gradient = cotangent @ v.swapaxes(2, 3) * factors
    s_gradient = p * (weights_gradient - (p * weights_gradient).sum(-1, keepdims=True))
    grouped = (B, groups, heads // groups)
    k_gradient = (s_gradient * slope).swapaxes(2, 3) @ query / np.sqrt(D)
    v_gradient = (p * factors).swapaxes(2, 3) @ cotangent
    return (
        (p * factors) @ v,
        (s_gradient * slope) @ k / np.sqrt(D),
        k_gradient.reshape(*grouped, *k_gradient.shape[2:]).sum(2),
        v_gradient.reshape(*grouped, *v_gradient.shape[2:]).sum(2),
        s_gradient,
    )


def dropout_factors(case, shape, seed):
    """Returns what the weights are multiplied by, drawn block by block."""
    if not case.dropout:
        return np.ones(shape)
    count, size = zip(*(_blocks(n) for n in shape[-2:]), strict=True)
    ones = ops.ones((*shape[:2], *size) if case.heads else (shape[0], *size))
    dropout = SeededDropout(case.dropout, seed)
    rows = [
        np.concatenate([array(dropout.apply(ones, (i, j))) for j in range(count[1])], -1)
        for i in range(count[0])
    ]
    factors = np.concatenate(rows, -2)[..., : shape[-2], : shape[-1]]
    return factors if case.heads else factors[:, None]


def _blocks(length):
    count = -(-length // BLOCK)
    return count, -(-length // count)


def assert_close(result, want):
    scale = max(1e-3, np.abs(want).max(initial=0.0))
    np.testing.assert_allclose(result / scale, want / scale, rtol=0, atol=1e-5)


@pytest.mark.slow_on_tensorflow
@slow_on_jax
@given(case=cases)
@example(case=Case())
@example(case=Case(masks=frozenset({"causal", "keys"}), bias="table", soft_cap=0.7))
@example(case=Case(masks=frozenset({"empty row", "window"}), heads=(2, 1), dropout=0.4))
@example(case=Case(keys=10, masks=frozenset({"queries", "segments"}), heads=None, bias="alibi"))
def test_blockwise_and_explicit_attention_follow_the_equations(case):
    rng = np.random.default_rng(case.seed)
    num_keys = case.keys or case.queries
    heads, groups = case.heads or (1, 1)
    query, keys, values, cotangent = (
        rng.normal(size=(B, *shape)).astype("float32")
        for shape in ((heads, case.queries, D), (groups, num_keys, D), (groups, num_keys, DV),
                      (heads, case.queries, DV))
    )  # fmt: skip
    mask, dense = draw_mask(rng, case, num_keys)
    positions = [np.arange(n, dtype="int32")[None] for n in (case.queries, num_keys)]
    encoding = encoding_of(case) if case.bias else None
    bias = (
        array(encoding.bias(*positions)).astype("float64") if encoding else np.zeros((1, 1, 1, 1))
    )
    seed = ops.convert_to_tensor(np.array([case.seed, 7], "int32"))
    factors = dropout_factors(case, (B, heads, case.queries, num_keys), seed)
    want = expected(
        case._replace(heads=(heads, groups)),
        *(x.astype("float64") for x in (query, keys, values)), dense, bias, factors,
        cotangent.astype("float64"),
    )  # fmt: skip

    def score(query, keys, positions):
        result = scores.scaled_dot(query, keys)
        if case.soft_cap:
            result = ops.tanh(result / case.soft_cap) * case.soft_cap
        if encoding is not None:
            bias = encoding.bias(*positions)
            result = result + (bias if case.heads else bias[:, 0])
        return result

    dropout = SeededDropout(case.dropout, seed) if case.dropout else None
    options = AttentionOptions(mask, positions[0], dropout)

    def fused(query, keys, values):
        attention = FusedAttention(score, encoding.variables if encoding else (), BLOCK)
        return attention(query, Memory(values, keys, positions=positions[1]), options)

    def explicit(query, keys, values):
        memory = Memory(values, keys, positions=positions[1])
        return explicit_attention(score, query, memory, options)[0]

    inputs = [query, keys, values] if case.heads else [query[:, 0], keys[:, 0], values[:, 0]]
    direction = cotangent if case.heads else cotangent[:, 0]
    variables = encoding.trainable_variables if encoding else []
    for attention in (fused,) if case.dropout else (fused, explicit):
        assert_close(array(attention(*(ops.convert_to_tensor(x) for x in inputs))),
                     want[0] if case.heads else want[0][:, 0])  # fmt: skip
        results = gradients(
            lambda *x, attention=attention: ops.sum(ops.multiply(attention(*x), direction)),
            inputs,
            variables,
        )
        for result, gradient in zip(results[:3], want[1:4], strict=True):
            assert_close(result, gradient if case.heads else gradient[:, 0])
        if variables:
            distance = np.arange(num_keys) - np.arange(case.queries)[:, None]
            buckets = np.abs(distance) + 16 * (distance > 0)  # one for each distance below 8
            if np.abs(distance).max() < 8:
                table = np.zeros((32, heads))
                np.add.at(table, buckets, np.moveaxis(want[4].sum(0), 0, -1))
                assert_close(results[3], table)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("dtype, tolerance", [("float16", 4e-3), ("bfloat16", 3e-2)])
def test_half_precision_is_accumulated_in_float32(dtype, tolerance):
    """As exact as one rounding of the operands, over 16 blocks."""
    rng = np.random.default_rng(0)
    query, keys, values = (rng.normal(size=(1, 2, 64, 8)).astype("float32") for _ in range(3))
    exact = [array(ops.cast(ops.cast(x, dtype), "float32")) for x in (query, keys, values)]
    half_query, half_keys, half_values = (ops.cast(x, dtype) for x in exact)
    attention = FusedAttention(lambda query, keys, _: scores.scaled_dot(query, keys), (), BLOCK)
    options = AttentionOptions(AttentionMask(causal=True))
    result = attention(half_query, Memory(half_values, half_keys), options)
    assert keras.backend.standardize_dtype(result.dtype) == dtype
    s = exact[0] @ exact[1].swapaxes(2, 3) / np.sqrt(8)
    p = np.exp(s) * np.tri(64)
    want = p / p.sum(-1, keepdims=True) @ exact[2]
    np.testing.assert_allclose(array(ops.cast(result, "float32")), want, atol=tolerance)


@pytest.mark.slow
@pytest.mark.tensorflow_only
@pytest.mark.parametrize("jit_compile", [False, True])
def test_graphs_of_unknown_length_and_xla(jit_compile):
    import tensorflow as tf

    def context(query, keys):
        score = lambda query, keys, _: scores.scaled_dot(query, keys)  # noqa: E731
        options = AttentionOptions(AttentionMask(causal=True))
        return FusedAttention(score, (), BLOCK)(query, Memory(keys, keys), options)

    @tf.function(
        input_signature=[tf.TensorSpec((None, 2, None, D)), tf.TensorSpec((None, 1, None, D))],
        jit_compile=jit_compile,
    )
    def graph(query, keys):
        with tf.GradientTape() as tape:
            tape.watch((query, keys))
            result = context(query, keys)
        return result, *tape.gradient(result, (query, keys))

    rng = np.random.default_rng(0)
    for length in (3, 9):
        query, keys = (rng.normal(size=(B, n, length, D)).astype("float32") for n in (2, 1))
        result, *received = graph(query, keys)
        np.testing.assert_allclose(result, array(context(query, keys)), atol=1e-6)
        want = gradients(lambda *x: ops.sum(context(*x)), [query, keys])
        for x, y in zip(received, want, strict=True):
            assert_close(array(x), y)
