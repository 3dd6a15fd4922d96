"""The language model: fit, save, reload, generate from prompts, stream."""

import keras
import numpy as np
import pytest

from helpers import array, compiled_on_jax, few_on_jax, fit_steps
from keras_attention.generation import BeamSearch, GreedySearch, Sampling
from keras_attention.models import CausalLM, causal_lm
from keras_attention.training import MaskedCrossEntropy

V = 11
PROMPTS = np.array([[5, 6, 7, 4], [8, 9, 0, 0], [0, 0, 0, 0], [0, 10, 0, 4]])
IDS = np.array([[1, 5, 6, 2, 1, 7, 8, 2, 0], [1, 9, 10, 4, 4, 3, 5, 2, 0]])
GREEDY, SAMPLE = (
    GreedySearch(max_new_tokens=6),
    Sampling(seed=2, num_return_sequences=2, max_new_tokens=6),
)


def make(seed=0, **options):
    options = {
        "hidden_dim": 16,
        "intermediate_dim": 12,
        "num_heads": 4,
        "num_layers": 1,
        "dropout": 0.0,
        **options,
    }
    model = causal_lm(V, **options)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        if "norm" not in weight.path:
            weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


@pytest.fixture(scope="module")
def model():
    return make()


def full_log_probs(model, rows):
    """Log-probabilities of the next token of each row of ids, by one full pass.

    As the strategies count: PAD and START have their share, and are not taken. All passes have
    one length, for which JAX compiles once; a token does not attend to the padding after it.
    """
    ids = np.zeros((len(rows), 10), int)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = tokens
    last = [len(tokens) - 1 for tokens in rows]
    logits = array(compiled_on_jax(model)(ids))[np.arange(len(rows)), last].astype("float64")
    output = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    output[:, :2] = -np.inf
    return output


def start_of(prompt):
    return [1, *[int(id) for id in prompt if id]]


def search_by_full_passes(model, prompts, length):
    """Greedy search: the tokens of each row and the sum of their log-probabilities."""
    rows, scores = [start_of(prompt) for prompt in prompts], np.zeros(len(prompts))
    for _ in range(length):
        log_probs = full_log_probs(model, rows)
        for n, row in enumerate(rows):
            if row[-1] != 2:  # END
                row.append(int(log_probs[n].argmax()))
                scores[n] += log_probs[n, row[-1]]
    return [row[len(start_of(prompt)) :] for row, prompt in zip(rows, prompts, strict=True)], scores


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize(
    "options",
    few_on_jax(
        3,
        [
            {},
            {"positions": "learned", "max_length": 10},
            {"positions": "alibi", "window": 3, "norm": "post", "norm_kind": "rms"},
            {"positions": "relative", "num_key_value_heads": 2},
            {"positions": None},
        ],
    ),
    ids=lambda options: str(options.get("positions", "rotary")),
)
def test_greedy_is_the_argmax_of_full_passes(options, request):
    if options:  # one of them runs a graph
        request.getfixturevalue("eager")
    model = make(num_layers=2, **options)
    output = model.generate(PROMPTS, GREEDY)
    assert output.ids.shape == (4, 1, 6) and output.ids.dtype == "int32"
    expected, scores = search_by_full_passes(model, PROMPTS, 6)
    assert [[id for id in row if id] for row in output.ids[:, 0]] == expected
    np.testing.assert_allclose(output.scores[:, 0], scores, rtol=1e-4)
    assert len({tuple(row) for row in output.ids[:, 0]}) > 1


@pytest.mark.usefixtures("eager")
def test_a_beam_as_wide_as_all_there_is_finds_the_best(model):
    """Of all answers of two tokens; and one beam is greedy."""
    output = model.generate(
        PROMPTS, BeamSearch(V - 2, length_penalty=0.0, num_return_sequences=3, max_new_tokens=2)
    )
    for row, prompt in enumerate(PROMPTS):
        prefix = start_of(prompt)
        (first,) = full_log_probs(model, [prefix])
        answers = {(2, 0): first[2]}
        second = full_log_probs(model, [[*prefix, id] for id in range(3, V)])
        for id, then in zip(range(3, V), second, strict=True):
            answers |= {(id, last): first[id] + then[last] for last in range(2, V)}
        best = sorted(answers, key=answers.get, reverse=True)[:3]
        assert [tuple(ids) for ids in output.ids[row].tolist()] == best
        np.testing.assert_allclose(output.scores[row], [answers[ids] for ids in best], rtol=1e-4)
    one, greedy = (
        model.generate(PROMPTS, BeamSearch(1, 0.0, max_new_tokens=6)),
        model.generate(PROMPTS, GREEDY),
    )
    np.testing.assert_array_equal(one.ids, greedy.ids)


@pytest.mark.usefixtures("eager")
def test_samples_are_scored_by_full_passes(model):
    output = model.generate(PROMPTS, SAMPLE)
    assert (output.ids[:, 0] != output.ids[:, 1]).any()
    for row, prompt in enumerate(PROMPTS):
        for n in range(2):
            start = start_of(prompt)
            tokens = [int(id) for id in output.ids[row, n] if id]
            log_probs = full_log_probs(model, [start + tokens[:t] for t in range(len(tokens))])
            score = log_probs[np.arange(len(tokens)), tokens].sum()
            np.testing.assert_allclose(output.scores[row, n], score, rtol=1e-4)
    near = model.generate(PROMPTS, Sampling(temperature=1e-4, max_new_tokens=6))
    np.testing.assert_array_equal(near.ids, model.generate(PROMPTS, GREEDY).ids)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "strategy", [GREEDY, BeamSearch(3, coverage_penalty=0.2, max_new_tokens=6)]
)
def test_a_prompt_alone_is_a_prompt_among_others(model, strategy):
    together = model.generate(PROMPTS, strategy, return_attention=True)
    assert together.attention.shape == (4, 1, 6, 4)
    for row, prompt in enumerate(PROMPTS):
        is_token = prompt > 0
        alone = model.generate(
            prompt[is_token][None] if is_token.any() else [[0]], strategy, return_attention=True
        )
        np.testing.assert_array_equal(alone.ids[0], together.ids[row])
        np.testing.assert_allclose(alone.scores[0], together.scores[row], rtol=1e-4)
        weights_row = together.attention[row, 0]  # (L, P)
        assert not weights_row[:, ~is_token].any()
        assert (weights_row.sum(-1) < 1).all()  # the rest is on START and generated tokens
        if is_token.any():
            np.testing.assert_allclose(
                alone.attention[0, 0], weights_row[:, is_token], rtol=1e-3, atol=1e-6
            )
            assert (weights_row[together.ids[row, 0] > 0][:, is_token] > 0).all()


def test_an_empty_batch(model):
    output = model.generate(PROMPTS[:0], GREEDY)
    assert output.ids.shape == (0, 1, 6)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize(
    "strategy", [GREEDY, SAMPLE, GreedySearch(max_new_tokens=6, length_ratio=0.5)]
)
@pytest.mark.parametrize("every", [1, 4])
def test_a_stream_is_what_generate_writes(model, strategy, every, request):
    if strategy is not GREEDY:  # which runs a graph
        request.getfixturevalue("eager")
    pieces = list(model.stream(PROMPTS, strategy, every))
    assert all(0 < piece.shape[2] <= every for piece in pieces)
    streamed = np.concatenate(pieces, axis=2)
    whole = model.generate(PROMPTS, strategy).ids
    np.testing.assert_array_equal(streamed, whole[:, :, : streamed.shape[2]])
    assert not whole[:, :, streamed.shape[2] :].any()


@pytest.mark.usefixtures("eager")
def test_a_stream_stops_when_all_have_ended():
    model = make()
    end = model.decoder.embedding.tokens
    model.generate(PROMPTS, GREEDY)
    weights = [array(w) for w in end.weights]
    # every vector points to END
    for weight, value in zip(end.weights, weights, strict=True):
        weight.assign(np.where(np.arange(V)[:, None] == 2, 9.0, value * 0.01))
    norm = model.decoder.stack.final_norm
    norm.gamma.assign(np.zeros(16))
    norm.beta.assign(np.ones(16))
    pieces = list(model.stream(PROMPTS, GreedySearch(max_new_tokens=500)))
    assert [piece.tolist() for piece in pieces] == [[[[2]]] * 4]


def test_streams_see_the_weights_of_now(model):
    model = make()
    before = np.concatenate(list(model.stream(PROMPTS, GREEDY)), axis=2)
    model.set_weights(make(seed=3).get_weights())
    after = np.concatenate(list(model.stream(PROMPTS, GREEDY)), axis=2)
    assert before.shape != after.shape or (before != after).any()
    whole = model.generate(PROMPTS, GREEDY).ids
    np.testing.assert_array_equal(after, whole[:, :, : after.shape[2]])


def test_mixed_precision_streams_as_it_generates():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = make()
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.decoder.compute_dtype == "bfloat16"
    streamed = np.concatenate(list(model.stream(PROMPTS, GREEDY)), axis=2)
    whole = model.generate(PROMPTS, GREEDY)
    assert whole.scores.dtype == "float32"
    np.testing.assert_array_equal(streamed, whole.ids[:, :, : streamed.shape[2]])


@pytest.mark.slow_on_tensorflow
def test_reload_gives_the_same(tmp_path):
    model = make(positions="relative", num_key_value_heads=2, window=4, activation="swiglu")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is CausalLM and loaded.name == model.name
    np.testing.assert_array_equal(array(loaded(IDS)), array(model(IDS)))
    for expected, got in zip(model.generate(PROMPTS), loaded.generate(PROMPTS), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.slow_on_tensorflow
def test_it_learns_packed_texts_by_heart():
    """Loss falls; then prompts of the texts go on as the texts did, the empty one as they begin."""
    model = make()
    labels = np.where((IDS[:, :-1] == 0) | (IDS[:, 1:] == 1), 0, IDS[:, 1:])
    model.compile(keras.optimizers.Adam(0.01), MaskedCrossEntropy())
    losses = fit_steps(model, IDS[:, :-1], labels, 60)
    assert losses[-1] < 0.5 < losses[0]  # which of three texts begins cannot be known
    output = model.generate([[5, 0], [7, 0], [9, 10]], GREEDY).ids[:, 0]
    assert output.tolist() == [[6, 2, 0, 0, 0, 0], [8, 2, 0, 0, 0, 0], [4, 4, 3, 5, 2, 0]]
    begun = model.generate([[0]], Sampling(seed=1, num_return_sequences=8, max_new_tokens=6)).ids[0]
    assert set(begun[:, 0]) <= {5, 7, 9} and len(set(begun[:, 0])) > 1


@pytest.mark.parametrize(
    "prompt, received",
    [
        ([5, 6], r"shape=\(2,\)"),
        ([[5, V]], f"ids from 5 to {V}"),
        ([[-1, 5]], "ids from -1 to 5"),
        ([[], []], r"shape=\(2, 0\)"),
    ],
)
def test_prompts_that_are_none(model, prompt, received):
    message = rf"`prompt` must .* Received: .*{received}"
    for generate in (model.generate, model.stream):
        with pytest.raises(ValueError, match=message):
            generate(prompt)


@pytest.mark.slow_on_tensorflow
def test_a_prompt_longer_than_the_learned_table_leaves_room_for():
    """Also when a graph of free length is there already."""
    model = make(positions="learned", max_length=10)
    for length in (1, 2, 3, 4):
        model.generate(np.full((1, length), 5), GREEDY)
    message = (
        "at most max_length=10 positions.* Received: 11 for a prompt of 5 tokens, including "
        "padding, and 6 more"
    )
    for generate in (model.generate, model.stream):
        with pytest.raises(ValueError, match=message):
            generate(np.full((1, 5), 5), GREEDY)


def test_a_beam_does_not_stream(model):
    with pytest.raises(ValueError, match=r"`strategy` must be .* Received: strategy=BeamSearch\("):
        model.stream(PROMPTS, BeamSearch(2))
    with pytest.raises(ValueError, match="every"):
        model.stream(PROMPTS, GREEDY, every=0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_heads": 3}, "num_heads"),
        ({"size": "huge"}, "`size` must be one of"),
        ({"positions": "rotating"}, "`positions` must be one of"),
        ({"cross_attention": True}, "cross_attention"),
    ],
)
def test_models_that_cannot_be(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(**options)
