"""A language model's decoder: packed texts, prompts, and steps that give the logits of `call`."""

import numpy as np
import pytest
from keras import ops

from keras_attention.decoders import CausalLMDecoder
from keras_attention.layers import (
    AlibiBias,
    DecoderBlock,
    RelativePositionBias,
    RotaryEmbedding,
    TokenEmbedding,
)

V, HEADS = 11, 4
TEXTS = [[1, 5, 6, 7, 4, 2], [1, 8, 2], [1, 9, 10, 4, 4, 3, 5]]
POSITIONS = {
    "none": (None, None),
    "sinusoidal": ("sinusoidal", None),
    "marian": ("marian", None),
    "learned": ("learned", None),
    "rotary": (None, lambda: RotaryEmbedding()),
    "rotary-ntk": (None, lambda: RotaryEmbedding(scaling="ntk", factor=2.0)),
    "relative": (None, lambda: RelativePositionBias(HEADS, 4, 8, bidirectional=False)),
    "alibi": (None, lambda: AlibiBias(HEADS)),
}
KINDS = {
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
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind, max_length=24):
    positions, options = KINDS[kind]
    added, scheme = POSITIONS[positions]
    embedding = TokenEmbedding(
        V, 16, output="tied", scale=True, positions=added, max_length=max_length
    )
    block = DecoderBlock(HEADS, 12, cross_attention=False, positions=scheme and scheme(), **options)
    decoder = CausalLMDecoder(embedding, block, num_layers=2)
    decoder(np.array(TEXTS[:1]))
    rng = np.random.default_rng(1)  # far from zero, so that every path shows in the logits
    for weight in decoder.weights:
        if "float" in weight.dtype and "norm" not in weight.path:
            weight.assign(rng.normal(size=weight.shape) * 0.6)
    return decoder


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def close(got, expected, **more):
    np.testing.assert_allclose(array(got), array(expected), rtol=2e-4, atol=2e-4, **more)


def steps(decoder, prompt, tokens):
    """Logits and scores (batch, time, beams, ...) of tokens (batch, time, beams)."""
    batch, time, beams = tokens.shape
    constants, state = decoder.start(np.array(prompt), num_beams=beams, max_length=time + 1)
    logits, scores = [], []
    # the first ids are not read
    for t, ids in enumerate([np.full((batch, beams), 10), *np.moveaxis(tokens, 1, 0)]):
        y, state, looked = decoder.step(
            ops.convert_to_tensor(ids), t, state, constants, return_weights=True
        )
        logits.append(array(y))
        scores.append(array(looked))
    return np.stack(logits, 1), np.stack(scores, 1)


@every_kind
def test_packed_and_padded_texts_are_each_alone(kind):
    decoder = make(kind)
    row = [0, 0, *TEXTS[0], *TEXTS[1], *TEXTS[2], 0]
    together = array(decoder(np.array([row])))[0]
    start = 2
    for text in TEXTS:
        close(together[start : start + len(text)], decoder(np.array([text]))[0])
        start += len(text)


def test_a_token_sees_what_stands_before_it_alone():
    decoder = make("rotary")
    ids = np.array([TEXTS[2]])
    changed = ids.copy()
    changed[0, 4] = 7
    before, after = array(decoder(ids)), array(decoder(changed))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert np.abs(before[:, 4:] - after[:, 4:]).max() > 1e-2


@every_kind
def test_steps_after_a_prompt_give_the_logits_of_call(kind):
    """Two beams that go on differently, rows padded left, right, and empty."""
    decoder = make(kind)
    prompts = [[5, 6, 7, 0], [0, 8, 4, 9], [0, 0, 0, 0]]
    tokens = np.random.default_rng(2).integers(2, V, (3, 4, 2))
    logits, _ = steps(decoder, prompts, tokens)
    for row, prompt in enumerate(prompts):
        given = [1, *[id for id in prompt if id]]
        for beam in range(2):
            full = decoder(np.array([[*given, *tokens[row, :, beam]]]))
            close(logits[row, :, beam], full[0, len(given) - 1 :])


@pytest.mark.parametrize("kind", ["rotary", "relative", "learned", "window-alibi"])
def test_a_prompt_padded_left_is_one_padded_right(kind):
    decoder = make(kind)
    tokens = np.array([[[7], [9]]] * 3)
    right, seen_right = steps(decoder, [[5, 6, 4, 0, 0]] * 3, tokens)
    left, seen_left = steps(decoder, [[0, 0, 5, 6, 4]] * 3, tokens)
    inside, seen_inside = steps(decoder, [[0, 5, 0, 6, 4]] * 3, tokens)
    close(left, right)
    close(inside, right)
    close(seen_left[..., 2:], seen_right[..., :3])
    close(seen_inside[..., [1, 3, 4]], seen_right[..., :3])
    assert not seen_left[..., :2].any() and not seen_right[..., 3:].any()


@every_kind
def test_scores_are_the_weights_over_the_prompt(kind):
    """Those of the last block in a full pass, the mean of its heads."""
    decoder = make(kind)
    prompt, tokens = [5, 6, 7], [4, 9]
    _, seen = steps(decoder, [[0, *prompt]], np.array([[[t] for t in tokens]]))
    assert seen.shape == (1, 3, 1, 4)

    ids = ops.convert_to_tensor(np.array([[1, *prompt, *tokens]], "int32"))
    length = ids.shape[1]
    place = np.arange(length)[None]
    causal = np.tril(np.ones((1, length, length), "bool"))
    x = decoder.embedding(ids, positions=place)
    for block in decoder.blocks:
        x, _, scores = block.read(x, None, causal, place)
    weights = array(scores).mean(1)[0]  # (T, T)
    close(seen[0, :, 0, 1:], weights[3:, 1:4])
    assert not seen[..., 0].any()


def test_an_empty_prompt_is_not_looked_at():
    _, seen = steps(make("rotary"), [[0, 0]], np.array([[[4], [9]]]))
    assert seen.shape == (1, 3, 1, 2) and not seen.any()


def test_a_past_of_one_beam_is_not_anothers():
    decoder = make("rotary")
    tokens = np.array([[[4, 4], [9, 9], [7, 5]]])
    logits, _ = steps(decoder, [[5, 6]], tokens)
    close(logits[0, :3, 0], logits[0, :3, 1])
    assert np.abs(logits[0, 3, 0] - logits[0, 3, 1]).max() > 1e-2


def test_prompt_and_steps_may_fill_the_learned_table_but_not_pass_it():
    decoder = make("learned", max_length=8)
    prompt = np.array([[5, 6, 7]])
    decoder.start(prompt, max_length=5)  # START, 3 of the prompt, 4 that are read of the 5 written
    with pytest.raises(
        ValueError,
        match="max_length=8 positions.* Received: 9 for a prompt of 3 tokens, .* and 6 more",
    ):
        decoder.start(prompt, max_length=6)
    with pytest.raises(ValueError, match="max_length=8 positions.* Received: 9 for the ids"):
        decoder(np.ones((1, 9), "int32"))


def test_a_block_that_looks_at_a_memory_is_refused():
    with pytest.raises(ValueError, match="block: .*cross_attention=False.* Received: .*=True"):
        CausalLMDecoder(TokenEmbedding(V, 16, output="tied"), DecoderBlock(2, 8), 1)
    with pytest.raises(ValueError, match="embedding: .*'tied' or 'separate'"):
        CausalLMDecoder(TokenEmbedding(V, 16), DecoderBlock(2, 8, cross_attention=False), 1)
