"""Compiled generation: what it shares, and that it follows a change of the layers."""

import keras
import numpy as np
import pytest

from helpers import cases
from keras_attention.generation import BeamSearch, Generator, GreedySearch, Sampling
from keras_attention.models import causal_lm, seq2seq
from keras_attention.training import enable_lora

V = 11
PROMPTS = np.array([[5, 6, 7, 4], [8, 9, 0, 0]])
SIZES = {"num_layers": 1, "hidden_dim": 16, "intermediate_dim": 12, "num_heads": 2, "dropout": 0.0}
GREEDY = GreedySearch(max_new_tokens=6)


def make(**options):
    model = causal_lm(V, **{**SIZES, **options})
    for i, weight in enumerate(model.trainable_weights):
        if "norm" not in weight.path:
            weight.assign(np.random.default_rng(i).normal(size=weight.shape) * 0.5)
    return model


def lora(model):
    enable_lora(model, 2)
    for i, weight in enumerate(model.trainable_variables):
        weight.assign(np.random.default_rng(i).normal(size=weight.shape, scale=0.5))


def quantize(model):
    """One layer only, which Keras does not notice; more of them compile slowly on JAX."""
    layer = next(x for x in model._flatten_layers() if isinstance(x, keras.layers.Dense))
    layer.quantize("int8")


def bfloat16(model):
    for layer in model._flatten_layers():
        layer.dtype_policy = "mixed_bfloat16"


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("change", [lora, quantize, bfloat16], ids=lambda change: change.__name__)
def test_generation_after_a_change_of_layers_is_that_of_a_model_never_used_before(change):
    used, fresh = make(), make()
    before = used.generate(PROMPTS, GREEDY)
    change(used), change(fresh)
    received, expected = used.generate(PROMPTS, GREEDY), fresh.generate(PROMPTS, GREEDY)
    np.testing.assert_allclose(received.scores, expected.scores, rtol=1e-5)
    np.testing.assert_array_equal(received.ids, expected.ids)
    assert np.abs(expected.scores - before.scores).max() > 1e-3  # else it would show nothing
    assert len(used._compiled_models) == 1  # the earlier ones are released


@pytest.mark.slow_on_tensorflow
def test_a_stream_after_lora_has_the_ids_of_generate():
    model = make()
    list(model.stream(PROMPTS, GREEDY))
    lora(model)
    ids = np.concatenate(list(model.stream(PROMPTS, GREEDY)), axis=2)
    expected = model.generate(PROMPTS, GREEDY).ids
    np.testing.assert_array_equal(ids, expected[:, :, : ids.shape[2]])
    assert not expected[:, :, ids.shape[2] :].any()


@pytest.mark.slow_on_tensorflow
def test_a_generator_of_ones_own_follows_the_layers():
    model = make()
    generator = Generator(model, GREEDY)
    generator.generate(PROMPTS)
    lora(model)
    expected = Generator(model, GREEDY).generate(PROMPTS).scores
    np.testing.assert_allclose(generator.generate(PROMPTS).scores, expected, rtol=1e-5)


CHANGES = {
    "unchanged": {},
    "shorter": {"max_new_tokens": 3},
    "colder": {"temperature": 0.3},
    "seed": {"seed": 8},
}


@pytest.mark.slow_on_tensorflow
def test_options_of_a_request_are_arguments_of_one_compiled_function():
    """Each result is that of a generator compiled for the strategy alone."""
    model = seq2seq(V, V, 8, 8)
    for i, weight in enumerate(model.trainable_weights):
        weight.assign(np.random.default_rng(i).normal(size=weight.shape))
    sampling = Sampling(num_return_sequences=2, seed=3, max_new_tokens=9)
    for change in cases(CHANGES, ["unchanged", "shorter"]):
        strategy = sampling.replace(**CHANGES[change])
        received = model.generate(PROMPTS, strategy, return_attention=True)
        expected = Generator(model, strategy, return_attention=True).generate(PROMPTS)
        np.testing.assert_array_equal(received.ids, expected.ids)
        assert received.ids.shape == (2, 2, strategy.max_new_tokens)
        np.testing.assert_allclose(received.scores, expected.scores, rtol=1e-5)
        np.testing.assert_allclose(received.attention, expected.attention, atol=1e-6)
    assert len(model._compiled_models) == 1
    beams = BeamSearch(2, num_return_sequences=2, length_ratio=1.5, max_new_tokens=5)
    for length in (5, 2):
        strategy = beams.replace(max_new_tokens=length)
        received = model.generate(PROMPTS, strategy)
        expected = Generator(model, strategy).generate(PROMPTS)
        np.testing.assert_array_equal(received.ids, expected.ids)
        np.testing.assert_allclose(received.scores, expected.scores, rtol=1e-5)
    assert len(model._compiled_models) == 2


def test_limits_are_rounded_up_as_far_as_there_are_positions():
    model = make(positions="learned", max_length=40)
    capacities = {n: model._capacity(PROMPTS, n) for n in (1, 16, 17, 32, 33, 36, 37)}
    assert capacities == {1: 16, 16: 16, 17: 32, 32: 32, 33: 36, 36: 36, 37: 37}
    assert make()._capacity(PROMPTS, 33) == 64
    with pytest.raises(ValueError, match="at most max_length=40 positions. Received: 41 for"):
        model.generate(PROMPTS, GreedySearch(max_new_tokens=37))
    assert model.generate(PROMPTS, GreedySearch(max_new_tokens=36)).ids.shape == (2, 1, 36)


def test_at_most_eight_strategies_are_kept():
    model = make()
    for suppressed in range(3, 13):
        model.compiled_model(Generator, PROMPTS, GreedySearch(suppress_tokens=[suppressed]))
    assert len(model._compiled_models) == 8
