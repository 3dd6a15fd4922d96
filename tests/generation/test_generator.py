"""Generation with caches that grow, compared with caches of the full length."""

import numpy as np
import pytest
from keras import ops

from helpers import array, cases, compiled_on_jax
from keras_attention.generation import BeamSearch, Generator, GreedySearch, Sampling
from keras_attention.generation.decoding_loop import run
from keras_attention.generation.logits_processors import SuppressTokens
from keras_attention.generation.streaming import Streamer
from keras_attention.models import causal_lm, transformer
from keras_attention.ops.ids import END

V, LIMIT = 13, 70  # three stages
SIZES = {"num_layers": 1, "hidden_dim": 8, "intermediate_dim": 12, "num_heads": 2, "dropout": 0.0}
SOURCE = np.array([[5, 6, 7, 4], [8, 9, 0, 0], [12, 11, 5, 0]], "int32")
MODELS = {
    "encoder-decoder": lambda: transformer(V, V, positions="relative", **SIZES),
    "decoder-only": lambda: causal_lm(V, window=3, **SIZES),  # shorter than the prompts
    "window of a later stage": lambda: causal_lm(V, positions="alibi", window=40, **SIZES),
}
STRATEGIES = {
    "greedy": GreedySearch(LIMIT),
    "sampling": Sampling(seed=3, num_return_sequences=2, max_new_tokens=LIMIT),
    "beam": BeamSearch(3, coverage_penalty=0.1, num_return_sequences=2, max_new_tokens=LIMIT),
}


class EndlessSampling(Sampling):
    """Sampling that never generates [END]."""

    @property
    def logits_processors(self):
        return [*super().logits_processors, SuppressTokens([END])]


@pytest.fixture(scope="module")
def models():
    """Models with random weights that rarely generate [END]."""
    made = {name: make() for name, make in MODELS.items()}
    for model in made.values():
        for i, weight in enumerate(model.trainable_weights):
            if "norm" not in weight.path:
                weight.assign(np.random.default_rng(i).normal(size=weight.shape) * 0.5)
        embedding = next(x for x in model.decoder.embedding.weights if tuple(x.shape) == (V, 8))
        embedding.assign(array(embedding) * (np.arange(V) != 2)[:, None])
    return made


def with_full_caches(model, strategy, source):
    """Generates in one loop, with caches and buffers of the strategy's limit."""
    generator = Generator(model, strategy, return_attention=True)
    limit = strategy.max_new_tokens
    source_mask, constants, carry = generator.prefill(ops.convert_to_tensor(source), limit)
    step = generator.bind_step(constants)
    return strategy.finalize(run(strategy, step, carry, source_mask, limit)[-1])


@pytest.mark.slow_on_tensorflow(cases=3)
@pytest.mark.parametrize("strategy", cases(STRATEGIES, ["sampling", "beam"]))
@pytest.mark.parametrize("name", ["encoder-decoder", "decoder-only"])
def test_growing_caches_give_the_outputs_of_full_ones(models, name, strategy):
    model, strategy = models[name], STRATEGIES[strategy]
    expected = with_full_caches(model, strategy, SOURCE)
    outputs = Generator(model, strategy, return_attention=True).generate(SOURCE)
    lengths = (outputs.ids != 0).sum(-1)
    assert lengths.max() > 64  # the last stage runs
    np.testing.assert_array_equal(outputs.ids, array(expected.ids))
    np.testing.assert_allclose(outputs.scores, array(expected.scores), rtol=1e-5)
    np.testing.assert_allclose(outputs.attention, array(expected.attention), atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_scores_with_growing_caches_are_those_of_teacher_forcing(models, name):
    model = models[name]
    strategy = EndlessSampling(num_return_sequences=2, max_new_tokens=LIMIT)
    outputs = Generator(model, strategy).generate(SOURCE[:1])
    ids = outputs.ids[0]  # (2, LIMIT)
    assert (ids != 0).all() and len(np.unique(ids)) > 5
    source = np.repeat(SOURCE[:1], 2, axis=0)
    shifted = np.concatenate([np.ones_like(ids[:, :1]), ids[:, :-1]], axis=1)
    if name == "encoder-decoder":
        logits = array(compiled_on_jax(model)({"source": source, "target": shifted}))
    else:
        prompt = np.concatenate([shifted[:, :1], source], axis=1)
        inputs = np.concatenate([prompt, ids[:, :-1]], axis=1)
        logits = array(compiled_on_jax(model)(inputs))[:, source.shape[1] :]
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    log_probs = np.take_along_axis(log_probs, ids[..., None], axis=2)[..., 0]
    np.testing.assert_allclose(outputs.scores[0], log_probs.sum(1), rtol=1e-5)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("every", [40, 100])  # within a stage, and beyond the first one
def test_a_stream_grows_its_caches(models, every):
    model, strategy = models["decoder-only"], STRATEGIES["sampling"]
    chunks = list(Streamer(model, strategy).stream(SOURCE, every))
    ids = np.concatenate(chunks, axis=2)
    expected = Generator(model, strategy).generate(SOURCE).ids
    np.testing.assert_array_equal(ids, expected[:, :, : ids.shape[2]])
    assert ids.shape[2] > 64 and not expected[:, :, ids.shape[2] :].any()


@pytest.mark.slow(cases=1)
@pytest.mark.tensorflow_only
@pytest.mark.parametrize("name", ["encoder-decoder", "decoder-only"])
def test_growing_caches_in_exports_and_under_xla(models, name, tmp_path):
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    from keras_attention.export.signatures import Signature, save_signatures
    from keras_attention.export.tflite.conversion import convert
    from keras_attention.export.tflite.flatbuffer import write_model

    model, strategy = models[name], STRATEGIES["beam"]
    generator = Generator(model, strategy)
    spec = {
        "source": tf.TensorSpec((None, None), tf.int32, name="source"),
        "max_new_tokens": tf.TensorSpec((None,), tf.int32, name="max_new_tokens"),
    }
    signatures = [Signature("generate", generator, spec)]
    save_signatures(signatures, tmp_path)
    saved_model = tf.saved_model.load(str(tmp_path)).signatures["generate"]
    interpreter = Interpreter(model_content=write_model(convert(signatures)))
    runs = {
        "SavedModel": lambda inputs: saved_model(**inputs),
        "TFLite": lambda inputs: interpreter.get_signature_runner("generate")(**inputs),
        "XLA": tf.function(generator, jit_compile=True),
    }
    longer = np.tile(SOURCE[:1], (2, 5))
    # the caches of a call may be shorter or longer than those of the call before
    some_end_early = (SOURCE, [20, 70, 40])  # and leave the batch
    for source, limit in ((SOURCE, 5), (SOURCE, 70), (longer, 40), (SOURCE, 33), some_end_early):
        limits = np.broadcast_to(np.array(limit, "int32"), len(source))
        expected = generator.predict_on_batch({"source": source, "max_new_tokens": limits})["ids"]
        for runtime, generate in runs.items():
            if runtime == "XLA" and np.max(limit) < 70:
                continue  # compiled for each shape
            inputs = {"source": tf.constant(source), "max_new_tokens": tf.constant(limits)}
            if runtime == "TFLite":
                inputs = {key: x.numpy() for key, x in inputs.items()}
            np.testing.assert_array_equal(generate(inputs)["ids"], expected, runtime)
