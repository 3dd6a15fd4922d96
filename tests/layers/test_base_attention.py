"""The contract of the attention layers, and Bahdanau's attention."""

import functools

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from helpers import array
from keras_attention.layers import (
    BahdanauAttention,
    BaseAttention,
    ContentAttention,
    DotAttention,
    LuongAttention,
    MonotonicAttention,
    ScoredAttention,
)

B, T, S, D = 2, 3, 5, 4
LAYERS = {
    "bahdanau": (BahdanauAttention, {"units": 6}),
    "bahdanau-normalize": (BahdanauAttention, {"units": 6, "normalize": True}),
    "dot": (DotAttention, {"scaled": False}),
    "scaled-dot": (DotAttention, {}),
    "content": (ContentAttention, {"sharpness": 3.0}),
    "luong-dot": (LuongAttention, {"score_mode": "dot", "scale": True}),
    "luong-general": (LuongAttention, {"score_mode": "general"}),
    "luong-concat": (LuongAttention, {"score_mode": "concat", "units": 6}),
    "luong-location": (LuongAttention, {"score_mode": "location", "max_length": 4}),
    "luong-local-m": (LuongAttention, {"window": "local-m", "window_width": 1}),
    "luong-local-p": (LuongAttention, {"window": "local-p", "window_width": 2}),
    "monotonic": (MonotonicAttention, {"units": 6, "sigmoid_noise": 1.0, "seed": 1}),
    "monotonic-recursive": (MonotonicAttention, {"units": D, "score_mode": "luong",
                                                 "mode": "recursive", "normalize": True}),
    "monotonic-hard": (MonotonicAttention, {"units": 6, "mode": "hard"}),
}  # fmt: skip
every_layer = pytest.mark.parametrize("kind", LAYERS)
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)


def make(kind, **kwargs):
    cls, config = LAYERS[kind]
    return cls(**config, **kwargs)


def data(seed=0, queries=T, length=S, width=D):
    rng = np.random.default_rng(seed)
    query, value = rng.normal(size=(B, queries, D)), rng.normal(size=(B, length, width))
    return query.astype("float32"), value.astype("float32")


@every_layer
def test_keras_layer_checks(kind):
    cls, config = LAYERS[kind]
    TestCase().run_layer_test(
        cls,
        init_kwargs=config,
        input_shape={"query_shape": (B, T, D), "value_shape": (B, S, D)},
        expected_output_shape=(B, T, D),
        expected_output_dtype="float32",
        supports_masking=True,
        run_training_check=False,  # it calls layers with one argument; see test_training
    )


@every_layer
def test_keys_may_differ_from_values(kind):
    layer = make(kind)
    query, key = data()
    value = data(1, width=7)[1]
    output, weights = layer(query, value, key, return_attention_scores=True)
    _, expected_weights = layer(query, key, return_attention_scores=True)
    np.testing.assert_allclose(array(weights), array(expected_weights), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(output), array(weights) @ value, rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape(query.shape, value.shape, key.shape) == (B, T, 7)


@every_layer
def test_attend_step_by_step_matches_call(kind):
    layer = make(kind)
    query, value = data()
    output, weights = layer(query, value, value_mask=MASK, return_attention_scores=True)
    memory = layer.memory(value, mask=MASK)
    state = layer.initial_state(memory, 1)
    for t in range(T):
        context, step_weights, state = layer.attend(
            query[:, t : t + 1],
            memory,
            state=state,
            positions=np.array(t, "int32"),
            return_weights=True,
        )
        np.testing.assert_allclose(array(context), array(output)[:, t : t + 1], atol=1e-5)
        np.testing.assert_allclose(array(step_weights), array(weights)[:, t : t + 1], atol=1e-6)


@every_layer
def test_weights_are_returned_only_on_request(kind):
    layer = make(kind)
    query, value = data()
    layer.build(query.shape, value.shape)
    memory = layer.memory(value, mask=MASK)
    state = layer.initial_state(memory, T)
    assert (state is None) == (not kind.startswith("monotonic"))
    for attend in (layer.attend, layer.attend_sequence):
        output = attend(query, memory)
        assert output.weights is None
        assert (output.state is None) == (state is None)
        requested = attend(query, memory, return_weights=True)
        assert array(requested.weights).shape == (B, T, S)
        np.testing.assert_array_equal(array(output.context), array(requested.context))


@every_layer
def test_queries_of_attend_are_independent(kind):
    layer = make(kind)
    query, value = data()
    layer.build(query.shape, value.shape)
    memory = layer.memory(value, mask=MASK)
    state = layer.initial_state(memory, T)
    context, weights, _ = layer.attend(query, memory, state=state, positions=1, return_weights=True)
    state = layer.initial_state(memory, 1)
    for t in range(T):
        single = layer.attend(
            query[:, t : t + 1], memory, state=state, positions=1, return_weights=True
        )
        np.testing.assert_allclose(array(single.context), array(context)[:, t : t + 1], atol=1e-5)
        np.testing.assert_allclose(array(single.weights), array(weights)[:, t : t + 1], atol=1e-6)


@every_layer
@pytest.mark.parametrize("left", [False, True])
def test_padding_does_not_change_the_output(kind, left):
    layer = make(kind)
    query, value = data()
    expected, expected_weights = layer(query, value, return_attention_scores=True)
    padding = np.full((B, 3, D), 50.0, "float32")
    parts = [value, padding], [np.ones((B, S), bool), np.zeros((B, 3), bool)]
    padded, mask = (np.concatenate(p[::-1] if left else p, axis=1) for p in parts)
    output, weights = layer(query, padded, value_mask=mask, return_attention_scores=True)
    np.testing.assert_allclose(array(output), array(expected), rtol=1e-5, atol=1e-5)
    weights = array(weights)
    np.testing.assert_allclose(weights[:, :, mask[0]], array(expected_weights), atol=1e-6)
    assert (weights[:, :, ~mask[0]] == 0).all()


@every_layer
def test_fully_masked_rows_give_zeros(kind):
    layer = make(kind)
    query, value = data()
    mask = np.array([[False] * S, [True] * S])
    output, weights = layer(query, value, value_mask=mask, return_attention_scores=True)
    assert (array(output)[0] == 0).all() and (array(weights)[0] == 0).all()
    assert np.isfinite(array(output)).all()
    np.testing.assert_allclose(array(output)[1], array(layer(query, value))[1], atol=1e-6)


@every_layer
def test_masked_queries_give_zeros_and_do_not_change_the_others(kind):
    layer = make(kind)
    query, value = data()
    mask = np.array([[True, True, False], [True, False, False]])
    output = array(layer(query, value, query_mask=mask))
    assert (output[~mask] == 0).all()
    np.testing.assert_allclose(output[mask], array(layer(query, value))[mask], atol=1e-6)


@every_layer
def test_attention_mask_and_causal_mask(kind):
    layer = make(kind)
    query, value = data()
    causal = np.tri(T, S, dtype=bool)
    output, weights = layer(query, value, use_causal_mask=True, return_attention_scores=True)
    assert (array(weights)[:, ~causal] == 0).all()
    for mask in (causal, np.broadcast_to(causal, (B, T, S)), causal[None].astype("int32")):
        masked = layer(query, value, attention_mask=mask)
        np.testing.assert_allclose(array(masked), array(output), atol=1e-6)


@every_layer
def test_value_and_key_masks_are_combined(kind):
    layer = make(kind)
    query, value = data()
    other = np.array([[1, 1, 0, 1, 1], [1, 0, 1, 1, 1]], bool)
    both = layer(query, value, value_mask=MASK, key_mask=other)
    np.testing.assert_allclose(
        array(both), array(layer(query, value, value_mask=MASK & other)), atol=1e-6
    )


@every_layer
def test_keras_masks(kind):
    """The layer uses the masks of its inputs, and its output carries the query's mask."""
    layer = make(kind)
    query, value = data()
    query[:, 2], value[0, 3:] = 0, 0
    masking = keras.layers.Masking()
    output = layer(masking(query), masking(value))
    query_mask = np.array([[True, True, False]] * B)
    expected = layer(query, value, query_mask=query_mask, value_mask=MASK)
    np.testing.assert_allclose(array(output), array(expected), atol=1e-6)
    np.testing.assert_array_equal(array(output._keras_mask), query_mask)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_layer
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(kind, policy):
    full, half = make(kind), make(kind, dtype=policy)
    query, value = data()
    expected = array(full(query, value, value_mask=MASK))
    half.build(query.shape, value.shape)
    half.set_weights(full.get_weights())
    output, weights = half(query, value, value_mask=MASK, return_attention_scores=True)
    assert keras.backend.standardize_dtype(output.dtype) == half.compute_dtype
    assert keras.backend.standardize_dtype(weights.dtype) == half.compute_dtype
    np.testing.assert_allclose(array(ops.cast(output, "float32")), expected, atol=0.04)
    memory = half.memory(value, mask=MASK)
    # `attend` runs outside of the autocast scope of `__call__`
    step = half.attend(query[:, :1], memory).context
    assert keras.backend.standardize_dtype(step.dtype) == half.compute_dtype
    np.testing.assert_allclose(
        array(ops.cast(step, "float32")), array(ops.cast(output, "float32"))[:, :1], atol=0.02
    )


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_layer
@pytest.mark.usefixtures("eager")
def test_training_with_fully_masked_rows_and_reloading(kind, tmp_path):
    """Gradients stay finite if a source is only padding; the reloaded model predicts the same."""
    query, source = keras.Input((None, D), name="query"), keras.Input((None,), name="source")
    value = keras.layers.Embedding(9, D, mask_zero=True)(source)
    output, weights = make(kind)(keras.layers.Dense(D)(query), value, return_attention_scores=True)
    assert output.shape == (None, None, D) and weights.shape == (None, None, None)
    model = keras.Model([query, source], keras.layers.Dense(1)(output))
    model.compile("sgd", "mse")
    inputs = [data()[0], np.array([[0] * S, [3, 4, 5, 0, 0]])]
    history = model.fit(inputs, np.ones((B, T, 1)), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(inputs, verbose=0), model.predict(inputs, verbose=0), atol=1e-6
    )


@every_layer
@pytest.mark.parametrize("queries, length", [(1, 1), (0, S)])
def test_smallest_inputs(kind, queries, length):
    layer = make(kind)
    query, value = data(queries=queries, length=length)
    output, weights = layer(query, value, return_attention_scores=True)
    assert array(output).shape == (B, queries, D)
    assert array(weights).shape == (B, queries, length)
    assert array(layer(query[:0], value[:0])).shape == (0, queries, D)


@pytest.mark.slow
@pytest.mark.tensorflow_only
def test_attend_converts_to_tflite_builtins(tmp_path):
    """One file has a signature for each layer."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    query, value = data()
    archive = keras.export.ExportArchive()
    functions = {}
    for number, kind in enumerate(LAYERS):
        layer = make(kind)
        layer.build(query.shape, value.shape)
        archive.track(layer)
        functions[f"attend_{number}"] = functools.partial(attend, layer)
    dynamic = tf.TensorSpec((None, None, D))
    integers = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((), tf.int32)
    for name, function in functions.items():
        archive.add_endpoint(name, function, input_signature=[dynamic, dynamic, *integers])
    archive.write_out(tmp_path, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = Interpreter(model_content=converter.convert())
    source = MASK.astype("int32")
    for signature, function in functions.items():
        run = interpreter.get_signature_runner(signature)
        result = run(query=query, value=value, source=source, position=np.array(1, "int32"))
        expected = function(query, value, source, 1)
        for name in expected:
            np.testing.assert_allclose(result[name], expected[name], atol=1e-5, err_msg=signature)


def attend(layer, query, value, source, position):
    memory = layer.memory(value, mask=ops.not_equal(source, 0))
    context, weights, _ = layer.attend(
        query,
        memory,
        state=layer.initial_state(memory, ops.shape(query)[1]),
        positions=position,
        return_weights=True,
    )
    return {"context": context, "weights": weights}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(query=(B, D)), r"`query` must have shape .* Received: query.shape=\(2, 4\)"),
        (dict(query=(3, T, D)), r"`query` must have shape .* Received: query.shape=\(3, 3, 4\)"),
        (dict(value=(B, S)), r"`value` must have shape .* Received: value.shape=\(2, 5\)"),
        (dict(key=(B, S + 1, D)), r"`key` must have shape .* Received: key.shape=\(2, 6, 4\)"),
        (dict(key=(1, S, D)), r"`key` must have shape .* Received: key.shape=\(1, 5, 4\)"),
        (dict(query_mask=(B, S)), r"`query_mask` must .* Received: query_mask.shape=\(2, 5\)"),
        (dict(value_mask=(B, T)), r"`value_mask` must .* Received: value_mask.shape=\(2, 3\)"),
        (dict(key_mask=(B, T)), r"`key_mask` must .* Received: key_mask.shape=\(2, 3\)"),
        (
            dict(attention_mask=(B, S, T)),
            r"`attention_mask` must .* Received: attention_mask.shape=\(2, 5, 3\)",
        ),
    ],
)
@pytest.mark.parametrize("symbolic", [False, True])
def test_shapes_that_do_not_match(arguments, message, symbolic):
    shapes = {"query": (B, T, D), "value": (B, S, D), **arguments}
    make_input = keras.KerasTensor if symbolic else np.ones
    inputs = {name: make_input(shape, dtype="float32") for name, shape in shapes.items()}
    layer = BahdanauAttention(6)
    layer.build((B, T, D), (B, S, D))
    with pytest.raises(ValueError, match=message):
        layer(**inputs)


def test_memory_and_attend_check_their_arguments():
    layer = BahdanauAttention(6)
    query, value = data()
    with pytest.raises(ValueError, match="must be built.* Received: bahdanau_attention"):
        layer.memory(value)
    layer.build(query.shape, value.shape)
    with pytest.raises(ValueError, match=r"`mask` must .* Received: mask.shape=\(2, 3\)"):
        layer.memory(value, mask=MASK[:, :3])
    with pytest.raises(ValueError, match=r"`mask` must .* Received: mask.shape=\(2, 3, 4\)"):
        layer.attend(query, layer.memory(value), mask=np.ones((B, T, S - 1), bool))


def test_units_must_be_positive():
    with pytest.raises(ValueError, match="`units` must be positive. Received: units=0"):
        BahdanauAttention(0)


def test_base_classes_name_what_to_implement():
    query, value = data()
    with pytest.raises(NotImplementedError, match="must implement `memory`"):
        BaseAttention()(query, value)
    with pytest.raises(NotImplementedError, match="must implement `attend`"):
        BaseAttention().attend(query, None)
    with pytest.raises(NotImplementedError, match="must implement `compute_scores`"):
        ScoredAttention()(query, value)


@pytest.mark.parametrize("normalize", [False, True])
def test_bahdanau_matches_tfa(normalize):
    """e_ij = v . tanh(W s + U h), or g v / ||v|| . tanh(W s + U h + b), as in tfa.seq2seq."""
    rng = np.random.default_rng(3)
    w, u, v = rng.normal(size=(D, 6)), rng.normal(size=(7, 6)), rng.normal(size=6)
    g, b = 0.7, rng.normal(size=6) * normalize
    query, value = data(width=7)
    scores = np.zeros((B, T, S))
    for i, t, s in np.ndindex(B, T, S):
        v_a = v / np.linalg.norm(v) * g if normalize else v
        scores[i, t, s] = v_a @ np.tanh(query[i, t] @ w + value[i, s] @ u + b)
    exponentials = np.exp(scores) * MASK[:, None]
    expected = exponentials / exponentials.sum(-1, keepdims=True)

    layer = BahdanauAttention(6, normalize=normalize)
    layer.build(query.shape, value.shape)
    arrays = {"query/kernel": w, "key/kernel": u, "v": v, "g": np.array(g), "b": b}
    for weight in layer.weights:
        weight.assign(arrays[weight.path.removeprefix(f"{layer.name}/")])
    np.testing.assert_allclose(
        array(layer.compute_scores(query, layer.memory(value))), scores, rtol=1e-4, atol=1e-5
    )
    output, weights = layer(query, value, value_mask=MASK, return_attention_scores=True)
    np.testing.assert_allclose(array(weights), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(array(output), expected @ value, rtol=1e-4, atol=1e-5)
