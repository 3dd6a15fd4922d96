"""Decoder of a causal language model: packed texts, prompts, and steps against `call`."""

import functools

import numpy as np
import pytest
from keras import ops

from helpers import cases, compiled_on_jax, few_on_jax
from keras_attention.decoders import CausalLMDecoder
from keras_attention.layers import (
    AlibiBias,
    DecoderBlock,
    RelativePositionBias,
    RotaryEmbedding,
    TokenEmbedding,
    make_blocks,
)
from keras_attention.ops.kv_cache import KVCache, count_rows

V, HEADS = 11, 4
TEXTS = [[1, 5, 6, 7, 4, 2], [1, 8, 2], [1, 9, 10, 4, 4, 3, 5]]
POSITIONS = {
    "none": (None, None),
    "sinusoidal": ("sinusoidal", None),
    "marian": ("marian", None),
    "learned": ("learned", None),
    "rotary": (None, lambda: RotaryEmbedding()),
    "rotary-ntk": (None, lambda: RotaryEmbedding(scaling="ntk", factor=2.0)),
    "relative": (None, lambda: None),  # shared by the blocks, see `make`
    "alibi": (None, lambda: AlibiBias(HEADS)),
}
CONFIGURATIONS = {
    **{name: (name, {}) for name in POSITIONS},
    "window": ("rotary", {"window": 2}),
    "window-alibi": ("alibi", {"window": 3}),
    "grouped": ("rotary", {"num_key_value_heads": 2}),
    "multi-query-relative": ("relative", {"num_key_value_heads": 1}),
    "post": ("sinusoidal", {"norm": "post"}),
    "sandwich-rms": ("rotary", {"norm": "sandwich", "norm_kind": "rms"}),
    "qk-norm-capped": ("rotary", {"qk_norm": True, "soft_cap": 3.0, "use_bias": False}),
    "swiglu": ("learned", {"activation": "swiglu"}),
}
OTHER_BACKENDS = few_on_jax(
    4,
    [
        "learned",
        "window-alibi",
        "multi-query-relative",
        "qk-norm-capped",
        "sandwich-rms",
        "rotary-ntk",
    ],
)
every_configuration = pytest.mark.parametrize(
    "configuration", cases(CONFIGURATIONS, OTHER_BACKENDS)
)


def make(configuration, max_length=24):
    positions, options = CONFIGURATIONS[configuration]
    added, make_encoding = POSITIONS[positions]
    embedding = TokenEmbedding(
        V, 16, output="tied", scale=True, positions=added, max_length=max_length
    )
    blocks = make_blocks(
        DecoderBlock, 2, num_heads=HEADS, intermediate_dim=12, cross_attention=False,
        positions=make_encoding and make_encoding(), **options,
    )  # fmt: skip
    bias = RelativePositionBias(HEADS, 4, 8, bidirectional=False)
    decoder = CausalLMDecoder(embedding, blocks, bias if positions == "relative" else None)
    decoder.build((None, None))
    rng = np.random.default_rng(1)  # large weights, so that all of them affect the logits
    for weight in decoder.weights:
        if "float" in weight.dtype and "norm" not in weight.path:
            weight.assign(rng.normal(size=weight.shape) * 0.6)
    return decoder


@functools.cache
def shared_decoder(configuration):
    """Decoder of a configuration, for tests that do not change it."""
    return compiled_on_jax(make(configuration))


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def assert_close(output, expected):
    np.testing.assert_allclose(array(output), array(expected), rtol=2e-4, atol=2e-4)


def steps(decoder, prompt, tokens):
    """Returns logits and attention weights (batch, time, beams, ...) of tokens."""
    batch, time, beams = tokens.shape
    constants, state = decoder.start(np.array(prompt), num_beams=beams, max_length=time + 1)
    logits, weights = [], []
    # the first ids are ignored
    for t, ids in enumerate([np.full((batch, beams), 10), *np.moveaxis(tokens, 1, 0)]):
        step_logits, state, step_weights = decoder.step(
            ops.convert_to_tensor(ids), np.int32(t), state, constants, return_weights=True
        )
        assert state.beams.shape[:2] == (batch, beams)
        logits.append(array(step_logits))
        weights.append(array(step_weights))
    return np.stack(logits, 1), np.stack(weights, 1)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_configuration
def test_packed_texts_give_the_logits_of_separate_texts(configuration):
    decoder = shared_decoder(configuration)
    row = [0, 0, *TEXTS[0], *TEXTS[1], *TEXTS[2], 0]
    packed = array(decoder(np.array([row])))[0]
    start = 2
    for text in TEXTS:
        assert_close(packed[start : start + len(text)], decoder(np.array([text]))[0])
        start += len(text)


def test_tokens_attend_only_to_earlier_ones():
    decoder = shared_decoder("rotary")
    ids = np.array([TEXTS[2]])
    changed = ids.copy()
    changed[0, 4] = 7
    before, after = array(decoder(ids)), array(decoder(changed))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert np.abs(before[:, 4:] - after[:, 4:]).max() > 1e-2


def after(prefix, tokens):
    """Returns the ids of each beam: a prefix and the beam's tokens, from (time, beams)."""
    return np.array([[*prefix, *row] for row in tokens.T])


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_configuration
def test_extending_caches_gives_the_logits_of_call(configuration):
    """Chunks of several lengths; the padding at the end of one is masked and overwritten."""
    decoder = shared_decoder(configuration)
    ids, length = np.array([[1, 5, 6, 7, 4, 9, 10], [1, 8, 4, 4, 3, 5, 6]]), 9
    caches = [
        KVCache(*[ops.zeros((2, block.self_attention.num_key_value_heads, length, 4))] * 2)
        for block in decoder.blocks
    ]
    received = []
    for start, count, padding in ((0, 3, 1), (3, 3, 3), (6, 1, 0)):
        chunk = np.pad(ids[:, start : start + count], ((0, 0), (0, padding)))
        positions = np.pad(np.arange(start, start + count), (0, padding))[None]
        mask = np.arange(length) <= positions[..., None]
        mask[:, count:] = False
        x, caches = decoder.extend(
            ops.convert_to_tensor(chunk), ops.convert_to_tensor(positions, "int32"),
            ops.convert_to_tensor(mask), caches,
        )  # fmt: skip
        received.append(array(decoder.embedding.logits(x))[:, :count])
    assert_close(np.concatenate(received, axis=1), decoder(ids))


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_configuration
def test_steps_after_a_prompt_give_the_logits_of_call(configuration):
    """Two beams with different tokens; prompts padded on either side, and an empty one."""
    decoder = shared_decoder(configuration)
    prompts = [[5, 6, 7, 0], [0, 8, 4, 9], [0, 0, 0, 0]]
    tokens = np.random.default_rng(2).integers(2, V, (3, 4, 2))
    logits, _ = steps(decoder, prompts, tokens)
    for row, prompt in enumerate(prompts):
        prefix = [1, *[id for id in prompt if id]]
        expected = decoder(after(prefix, tokens[row]))[:, len(prefix) - 1 :]
        assert_close(logits[row].swapaxes(0, 1), expected)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_configuration
def test_steps_after_a_prompt_with_start_continue_its_last_text(configuration):
    """START begins a new text, as in `call`: the steps are those after the last text alone."""
    decoder = shared_decoder(configuration)
    prompts = [[5, 6, 1, 7, 4], [0, 5, 1, 8, 0], [5, 1, 6, 9, 1]]
    tokens = np.random.default_rng(2).integers(2, V, (3, 4, 2))
    logits, weights = steps(decoder, prompts, tokens)
    for row, (prompt, last) in enumerate(zip(prompts, ([7, 4], [8], []), strict=True)):
        for prefix in ([id for id in prompt if id], last):
            expected = decoder(after([1, *prefix], tokens[row]))[:, -5:]
            assert_close(logits[row].swapaxes(0, 1), expected)
    assert not weights[0, ..., :2].any()
    if "window" not in configuration:
        assert weights[0, ..., 2:].all()


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("configuration", ["rotary", "relative", "learned", "window-alibi"])
def test_padding_anywhere_in_the_prompt_does_not_change_the_steps(configuration):
    decoder = shared_decoder(configuration)
    tokens = np.array([[[7], [9]]] * 3)
    right, right_weights = steps(decoder, [[5, 6, 4, 0, 0]] * 3, tokens)
    left, left_weights = steps(decoder, [[0, 0, 5, 6, 4]] * 3, tokens)
    inside, inside_weights = steps(decoder, [[0, 5, 0, 6, 4]] * 3, tokens)
    assert_close(left, right)
    assert_close(inside, right)
    assert_close(left_weights[..., 2:], right_weights[..., :3])
    assert_close(inside_weights[..., [1, 3, 4]], right_weights[..., :3])
    assert not left_weights[..., :2].any() and not right_weights[..., 3:].any()


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_configuration
def test_steps_return_the_attention_weights_on_the_prompt(configuration):
    """Those of the last block in a full pass, averaged over its heads."""
    decoder = shared_decoder(configuration)
    prompt, tokens = [5, 6, 7], [4, 9]
    _, prompt_weights = steps(decoder, [[0, *prompt]], np.array([[[t] for t in tokens]]))
    assert prompt_weights.shape == (1, 3, 1, 4)

    ids = ops.convert_to_tensor(np.array([[1, *prompt, *tokens]], "int32"))
    length = ids.shape[1]
    x = decoder.embedding(ids, positions=np.arange(length)[None])
    for block in decoder.blocks:
        x, weights = block(
            x, position_bias=decoder.stack.position_bias, return_attention_scores=True
        )
    weights = array(weights).mean(1)[0]  # (T, T)
    assert_close(prompt_weights[0, :, 0, 1:], weights[3:, 1:4])
    assert not prompt_weights[..., 0].any()


def test_an_empty_prompt_has_no_attention_weights():
    _, weights = steps(shared_decoder("rotary"), [[0, 0]], np.array([[[4], [9]]]))
    assert weights.shape == (1, 3, 1, 2) and not weights.any()


def test_beams_have_separate_caches():
    decoder = shared_decoder("rotary")
    tokens = np.array([[[4, 4], [9, 9], [7, 5]]])
    logits, _ = steps(decoder, [[5, 6]], tokens)
    assert_close(logits[0, :3, 0], logits[0, :3, 1])
    assert np.abs(logits[0, 3, 0] - logits[0, 3, 1]).max() > 1e-2


@pytest.mark.parametrize(
    "positions, windows", [("rotary", (3, None)), ("relative", (7, 3)), ("alibi", (None, 5))]
)
def test_caches_of_blocks_with_different_windows(positions, windows):
    """A cache grows up to the window; prompts and outputs are shorter and longer than it."""
    decoder = compiled_on_jax(make(positions))
    for block, window in zip(decoder.blocks, windows, strict=True):
        block.self_attention.window = window
    prompts = [[5, 6, 7, 4, 8, 0], [4, 10, 5, 7, 8, 6], [9, 6, 0, 1, 8, 0], [0] * 6]
    texts = [[1, 5, 6, 7, 4, 8], [1, 4, 10, 5, 7, 8, 6], [1, 8], [1]]
    steps_at = {0: 2, 2: 5, 5: 12}  # number of steps in the caches from a step on
    tokens = np.random.default_rng(2).integers(2, V, (4, 12, 2))
    constants, state = decoder.start(np.array(prompts), num_beams=2, cache_length=0)
    logits = []
    for t in range(12):
        if t in steps_at:
            state = decoder.grow(state, constants, steps_at[t])
            expected = [min(6 + steps_at[t], window or 18) for window in windows]
            rows = [sum(map(count_rows, cache)) for cache in state.caches]
            assert rows == [2 * slots for slots in expected]
        previous = ops.convert_to_tensor(tokens[:, t - 1])  # ignored in the first step
        step_logits, state, _ = decoder.step(previous, np.int32(t), state, constants)
        logits.append(array(step_logits))
    for row, text in enumerate(texts):
        expected = decoder(after(text, tokens[row, :-1]))[:, len(text) - 1 :]
        assert_close(np.stack(logits, 2)[row], expected)


def test_prompt_and_steps_that_exceed_the_learned_positions_raise():
    decoder = make("learned", max_length=8)
    prompt = np.array([[5, 6, 7]])
    decoder.start(prompt, max_length=5)  # START, 3 of the prompt, 4 of the 5 generated
    with pytest.raises(
        ValueError,
        match="max_length=8 positions.* Received: 9 for a prompt of 3 tokens, .* and 6 more",
    ):
        decoder.start(prompt, max_length=6)
    with pytest.raises(ValueError, match="max_length=8 positions.* Received: 9 for the ids"):
        decoder(np.ones((1, 9), "int32"))


def test_invalid_arguments_raise():
    block = DecoderBlock(2, 8, cross_attention=False)
    with pytest.raises(ValueError, match="`blocks` .*cross_attention=False.* Received: .*=True"):
        CausalLMDecoder(TokenEmbedding(V, 16, output="tied"), [DecoderBlock(2, 8)])
    with pytest.raises(ValueError, match="`embedding` .*'tied' or 'separate'"):
        CausalLMDecoder(TokenEmbedding(V, 16), [block])
    with pytest.raises(ValueError, match="`blocks` must be a list of at least one block"):
        CausalLMDecoder(TokenEmbedding(V, 16, output="tied"), [])
