"""The RNN decoder: stepping gives the logits of `call` for every option of `seq2seq`."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from helpers import assert_outputs_as_declared, cases, compiled_on_jax
from keras_attention.decoders import RNNDecoder
from keras_attention.generation import GreedySearch
from keras_attention.layers import (
    BahdanauAttention,
    BahdanauDecoderCell,
    ContentAttention,
    DotAttention,
    LuongAttention,
    LuongDecoderCell,
    MonotonicAttention,
    TokenEmbedding,
)
from keras_attention.models import seq2seq
from keras_attention.training import LinearDecay, MaskedCrossEntropy

V, W = 11, 9  # source and target vocabulary
SOURCE = np.array([[5, 6, 7, 2, 0], [8, 9, 10, 4, 2]])
TARGET = np.array([[1, 4, 5, 6], [1, 7, 8, 0]])
LABELS = np.array([[4, 5, 6, 2], [7, 8, 2, 0]])
OPTIONS = {
    "bahdanau": {},
    "bahdanau-normalized": {
        "attention": lambda: BahdanauAttention(5, normalize=True),
        "decoder_cell": "bahdanau",
    },
    "luong": {"attention": "luong"},
    "dot": {"attention": lambda: LuongAttention("dot"), "decoder_cell": "luong"},
    "concat": {"attention": lambda: LuongAttention("concat", units=5), "decoder_cell": "luong"},
    "location": {
        "attention": lambda: LuongAttention("location", max_length=4),
        "decoder_cell": "luong",
    },
    "local-m": {
        "attention": lambda: LuongAttention(window="local-m", window_width=1),
        "decoder_cell": "luong",
    },
    "local-p": {
        "attention": lambda: LuongAttention("general", window="local-p", window_width=2),
        "decoder_cell": "luong",
    },
    "scaled-dot": {"attention": lambda: DotAttention(), "decoder_cell": "luong"},
    "content": {"attention": lambda: ContentAttention(), "decoder_cell": "luong"},
    "monotonic": {"attention": lambda: MonotonicAttention(5), "decoder_cell": "luong"},
    "monotonic-hard-feeding": {
        "attention": lambda: MonotonicAttention(5, mode="hard"),
        "decoder_cell": "luong",
        "input_feeding": True,
    },
    "monotonic-bahdanau": {
        "attention": lambda: MonotonicAttention(5),
        "decoder_cell": "bahdanau",
    },
    "general-bahdanau": {"attention": "luong", "decoder_cell": "bahdanau"},
    "additive-luong": {"decoder_cell": "luong"},
    "fixed": {"attention": "fixed"},
    "none": {"attention": None},
    "none-reversed": {"attention": None, "reverse_source": True, "bidirectional": False},
    "feeding": {"attention": "luong", "input_feeding": True},
    "add-feeding": {"attention": "luong", "combine": "add", "input_feeding": True},
    "add": {"attention": "luong", "combine": "add"},
    "tied": {"tie_embeddings": True},
    "luong-tied-stacked": {"attention": "luong", "tie_embeddings": True, "decoder_layers": 2},
    "stacked": {"encoder_layers": 2, "decoder_layers": 2},
    "lstm-stacked": {"cell": "lstm", "decoder_layers": 2, "reverse_source": True},
    "lstm-luong": {"cell": "lstm", "attention": "luong", "input_feeding": True},
    "lstm-fixed": {"cell": "lstm", "attention": "fixed"},
}
OTHER_BACKENDS = (
    "bahdanau-normalized",
    "luong",
    "dot",
    "concat",
    "location",
    "local-p",
    "content",
    "monotonic",
    "monotonic-hard-feeding",
    "none-reversed",
    "luong-tied-stacked",
    "lstm-fixed",
)
every_option = pytest.mark.parametrize("option", cases(OPTIONS, OTHER_BACKENDS))


def make(option, **more):
    options = {**OPTIONS[option], **more}
    if callable(options.get("attention")):
        options["attention"] = options["attention"]()
    model = seq2seq(V, W, embedding_dim=8, units=8, dropout=0.0, **options)
    rng = np.random.default_rng(1)  # far from zero, so that every path shows in the logits
    floats = [w for w in model.weights if "float" in w.dtype]
    for weight in floats:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


@functools.cache
def shared_model(option):
    """Model of an option, for tests that do not change it."""
    return make(option)


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def encode(model, source=SOURCE):
    return compiled_on_jax(model.encoder)(source), model.encoder.compute_mask(source)


def steps(decoder, target, encoded, mask):
    """Logits and attention weights `(batch, time, beams, ...)` of target ids of that shape."""
    decoder = compiled_on_jax(decoder)
    constants, state = decoder.start(encoded, mask, num_beams=target.shape[2])
    logits, weights = [], []
    for t in range(target.shape[1]):
        assert all(x.shape[:2] == target.shape[::2] for x in keras.tree.flatten(state))
        ids = ops.convert_to_tensor(target[:, t], "int32")
        y, state, step_weights = decoder.step(
            ids, np.int32(t), state, constants, return_weights=True
        )
        logits.append(array(y))
        weights.append(array(step_weights))
    return np.stack(logits, 1), np.stack(weights, 1)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_option
def test_steps_equal_call_and_beams_are_independent(option):
    model = shared_model(option)
    encoded, mask = encode(model)
    decoder = compiled_on_jax(model.decoder)
    expected = array(decoder(TARGET, encoded, mask))
    assert expected.shape == (2, 4, W) and expected.std() > 0.1
    other = np.array([[1, 8, 8, 4], [1, 3, 4, 5]])
    logits, scores = steps(model.decoder, np.stack([other, TARGET, TARGET], 2), encoded, mask)
    for beam in (1, 2):
        np.testing.assert_allclose(logits[:, :, beam], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        logits[:, :, 0], array(decoder(other, encoded, mask)), rtol=1e-4, atol=1e-5
    )
    assert scores.shape == (2, 4, 3, 5) and (scores >= 0).all()
    assert (scores[0, :, :, 4] == 0).all()  # the padding
    if model.decoder.cell.attention is None:
        assert not scores.any()


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_option
def test_padding_of_the_source_is_ignored(option):
    model = compiled_on_jax(shared_model(option))
    expected = array(model({"source": SOURCE[:1, :4], "target": TARGET[:1]}))
    for left, right in ((0, 3), (3, 0)):
        padded = np.pad(SOURCE[:1, :4], ((0, 0), (left, right)))
        got = array(model({"source": padded, "target": TARGET[:1]}))
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def make_with_policy(option, policy):
    keras.config.set_dtype_policy(policy)
    try:
        return make(option)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize(
    "option",
    cases(
        ["bahdanau", "luong", "feeding", "monotonic", "fixed", "tied"], ["bahdanau", "monotonic"]
    ),
)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(option, policy):
    half = make_with_policy(option, policy)
    encoded, mask = encode(half)
    logits = compiled_on_jax(half.decoder)(TARGET, encoded, mask)
    assert keras.backend.standardize_dtype(logits.dtype) == half.decoder.compute_dtype
    assert_outputs_as_declared(half.decoder, logits, TARGET, encoded)
    expected = array(compiled_on_jax(shared_model(option))({"source": SOURCE, "target": TARGET}))
    np.testing.assert_allclose(array(logits), expected, atol=0.06)
    # outside of `__call__`, so without Keras's autocast scope
    stepped, _ = steps(half.decoder, TARGET[:, :, None], encoded, mask)
    np.testing.assert_allclose(stepped[:, :, 0], array(logits), atol=0.06)


LOADED = {"monotonic": "mixed_float16", "feeding": "mixed_bfloat16"}


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("option", cases(LOADED, ["monotonic"]))
@pytest.mark.usefixtures("eager")
def test_mixed_precision_reloads_generates_and_trains(option, tmp_path):
    """A loaded model keeps the dtype policy of its layers, whatever the global policy is."""
    half = make_with_policy(option, LOADED[option])
    inputs = {"source": SOURCE, "target": TARGET}
    half.save(tmp_path / "half.keras")
    loaded = keras.models.load_model(tmp_path / "half.keras")
    np.testing.assert_array_equal(array(loaded(inputs)), array(half(inputs)))
    assert np.isfinite(loaded.generate(SOURCE, GreedySearch(max_new_tokens=4)).scores).all()
    loaded.compile("sgd", MaskedCrossEntropy())
    history = loaded.fit(inputs, LABELS, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(weight).all() for weight in loaded.get_weights())


@pytest.mark.parametrize(
    "source, target",
    [
        (SOURCE[:1, 3:4], TARGET[:1, :1]),
        (SOURCE[:0], TARGET[:0]),
        (np.zeros((2, 3), int), TARGET),  # fully masked
    ],
)
@pytest.mark.parametrize("option", ["bahdanau", "luong", "monotonic", "none"])
def test_the_smallest_inputs(source, target, option):
    logits = array(compiled_on_jax(shared_model(option))({"source": source, "target": target}))
    assert logits.shape == (*target.shape, W)
    assert np.isfinite(logits).all()


def test_tied_embeddings_share_one_table():
    tables = [w for w in make("tied").decoder.weights if tuple(w.shape) in ((W, 8), (8, W))]
    assert len(tables) == 1
    untied = [w for w in make("bahdanau").decoder.weights if tuple(w.shape) in ((W, 8), (8, W))]
    assert len(untied) == 2


def test_dropout_in_training_only():
    model = seq2seq(V, W, embedding_dim=8, units=8, dropout=0.5)
    encoded, mask = encode(model)
    expected = array(model.decoder(TARGET, encoded, mask))
    np.testing.assert_array_equal(array(model.decoder(TARGET, encoded, mask)), expected)
    trained = array(model.decoder(TARGET, encoded, mask, training=True))
    assert np.abs(trained - expected).max() > 1e-3


# Scheduled sampling


@keras.saving.register_keras_serializable(package="tests")
class Constant:
    """A schedule with one value."""

    def __init__(self, value):
        self.value = value

    def __call__(self, step):
        return self.value + 0.0 * ops.cast(step, "float32")

    def get_config(self):
        return {"value": self.value}


def predicted_inputs(decoder, encoded, mask, length):
    """Inputs of a decoder that is fed START and then its own predictions."""
    decoder = compiled_on_jax(decoder)
    constants, state = decoder.start(encoded, mask)
    ids, inputs = np.full((2, 1), 1, "int32"), []
    for t in range(length):
        inputs.append(ids)
        ids = ops.convert_to_tensor(ids)
        logits, state, weights = decoder.step(ids, np.int32(t), state, constants)
        assert weights is None
        ids = array(logits).argmax(-1).astype("int32")
    return np.concatenate(inputs, 1)


@pytest.mark.parametrize("option", ["bahdanau", "luong", "local-m"])
def test_probability_0_feeds_the_predictions(option):
    model = make(option, scheduled_sampling=Constant(0.0))
    encoded, mask = encode(model)
    predicted = predicted_inputs(model.decoder, encoded, mask, 4)
    assert (predicted != TARGET).any()
    trained = array(model.decoder(TARGET, encoded, mask, training=True))
    np.testing.assert_allclose(
        trained, array(model.decoder(predicted, encoded, mask)), rtol=1e-4, atol=1e-5
    )
    assert np.abs(trained - array(model.decoder(TARGET, encoded, mask))).max() > 0.01


def test_probability_1_is_teacher_forcing():
    model = make("bahdanau", scheduled_sampling=Constant(1.0))
    encoded, mask = encode(model)
    np.testing.assert_allclose(
        array(model.decoder(TARGET, encoded, mask, training=True)),
        array(model.decoder(TARGET, encoded, mask)),
        atol=1e-6,
    )


def test_other_probabilities_mix_both():
    model = make("bahdanau", scheduled_sampling=Constant(0.5))
    source, target = np.repeat(SOURCE[:1], 400, 0), np.repeat(TARGET[:1], 400, 0)
    encoded, mask = encode(model, source)
    constants, state = model.decoder.start(encoded, mask)
    inputs = array(model.decoder._sample_inputs(ops.convert_to_tensor(target), constants, state))
    true_fraction = (inputs == target).mean(0)
    assert true_fraction[0] == 1  # START is never predicted
    assert 0.4 < true_fraction[1] < 0.6


@pytest.mark.slow_on_tensorflow
@pytest.mark.usefixtures("eager")
def test_fit_moves_from_true_tokens_to_predictions():
    """`fit` counts the steps; after the schedule's end all inputs are predictions."""
    model = make("bahdanau", scheduled_sampling=LinearDecay(k=1.0, c=0.5))
    decoder = model.decoder
    model.compile(keras.optimizers.SGD(0.0), MaskedCrossEntropy(), jit_compile=False)
    inputs = {"source": SOURCE, "target": TARGET}
    losses = model.fit(inputs, LABELS, epochs=4, verbose=0).history["loss"]
    assert int(array(decoder.trained_steps)) == 4
    encoded, mask = encode(model)
    predicted = predicted_inputs(decoder, encoded, mask, 4)
    for loss, fed_ids in ((losses[0], TARGET), (losses[2], predicted), (losses[3], predicted)):
        expected = float(array(MaskedCrossEntropy()(LABELS, decoder(fed_ids, encoded, mask))))
        np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert abs(losses[0] - losses[3]) > 0.01


@pytest.mark.slow_on_tensorflow
def test_scheduled_sampling_trains():
    model = make("luong", scheduled_sampling=Constant(0.0))
    model.compile(keras.optimizers.Adam(0.05), MaskedCrossEntropy())
    inputs = {"source": SOURCE, "target": TARGET}
    losses = model.fit(inputs, LABELS, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]


# Errors


def test_embedding_must_have_an_output():
    cell = BahdanauDecoderCell(keras.layers.GRUCell(4), BahdanauAttention(4))
    with pytest.raises(ValueError, match="`embedding` must .* Received: output=None"):
        RNNDecoder(TokenEmbedding(9, 8), cell)


@pytest.mark.parametrize("output", ["separate", "tied"])
def test_luong_output_must_be_as_wide_as_the_embedding(output):
    cell = LuongDecoderCell(keras.layers.GRUCell(4), LuongAttention("general"), units=5)
    encoded = {"sequence": np.ones((2, 5, 6)), "state": np.ones((2, 6))}
    with pytest.raises(ValueError, match="Received: output_size=5, embedding_dim=8"):
        RNNDecoder(TokenEmbedding(9, 8, output=output), cell)(TARGET, encoded)
