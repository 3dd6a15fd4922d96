"""Frozen layers, layer-wise learning rates, LoRA and int8 quantization."""

import keras
import numpy as np
import pytest

from helpers import array as view
from keras_attention.layers import BaseAttention
from keras_attention.layers.linear import Linear
from keras_attention.models import (
    causal_lm,
    classifier,
    masked_lm,
    transformer,
)
from keras_attention.training import LinearWarmup, discriminative_rates, enable_lora

IDS = np.array([[5, 6, 7, 2, 0], [8, 9, 10, 4, 2]])
LABELS = np.array([0, 2])
SMALL = {"num_layers": 2, "hidden_dim": 8, "intermediate_dim": 16, "num_heads": 2, "dropout": 0.0}
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def array(x):
    """Returns a copy, because PyTorch updates weights in place."""
    return np.array(view(x))


def fitted(model, optimizer, epochs=1):
    model.compile(optimizer, LOSS, run_eagerly=True)  # tracing takes longer than these steps
    model.fit(IDS, LABELS, epochs=epochs, verbose=0)
    return model


def values(layer):
    return {variable.path: array(variable) for variable in layer.weights}


def test_frozen_encoder_is_constant_and_its_head_learns():
    model = classifier(11, 3, encoder=masked_lm(11, **SMALL).encoder)
    model.encoder.trainable = False
    encoder, head = values(model.encoder), values(model.head)
    fitted(model, keras.optimizers.SGD(0.1))
    for path, value in values(model.encoder).items():
        np.testing.assert_array_equal(value, encoder[path])
    assert all((value != head[path]).any() for path, value in values(model.head).items())


def test_frozen_blocks_are_constant():
    model = classifier(11, 3, **SMALL)
    lower, upper = model.encoder.body.blocks
    lower.trainable = model.encoder.embedding.trainable = False
    before = values(lower), values(upper), values(model.encoder.embedding)
    fitted(model, keras.optimizers.SGD(0.1))
    after = values(lower), values(upper), values(model.encoder.embedding)
    for path in before[0]:
        np.testing.assert_array_equal(after[0][path], before[0][path])
    for path in before[2]:
        np.testing.assert_array_equal(after[2][path], before[2][path])
    assert any((after[1][path] != before[1][path]).any() for path in before[1])


def bottom_up(model):
    return [model.encoder.embedding, *model.encoder.body.blocks]


@pytest.mark.parametrize("schedule", [False, True])
def test_updates_of_lower_layers_are_smaller(schedule):
    """With SGD, the update of each layer is that of a common rate, divided by 2, 4, 8."""
    model = classifier(11, 3, **SMALL)
    start = model.get_weights()
    rate = LinearWarmup(0.2, warmup_steps=2) if schedule else 0.1  # the first step: 0.1
    before = values(model)
    whole = {path: x - before[path] for path, x in values(fitted(model, sgd(rate))).items()}
    model.set_weights(start)
    rates = discriminative_rates(sgd(rate), bottom_up(model), factor=2.0)
    parts = {path: x - before[path] for path, x in values(fitted(model, rates)).items()}
    scales = {
        **dict.fromkeys(values(model), 1.0),  # the head, and the norm above the blocks
        **dict.fromkeys(values(model.encoder.body.blocks[1]), 1 / 2),
        **dict.fromkeys(values(model.encoder.body.blocks[0]), 1 / 4),
        **dict.fromkeys(values(model.encoder.embedding), 1 / 8),
    }
    assert set(scales.values()) == {1.0, 0.5, 0.25, 0.125}
    for path, scale in scales.items():
        np.testing.assert_allclose(parts[path], scale * whole[path], rtol=1e-3, atol=1e-7)


def sgd(rate):
    return keras.optimizers.SGD(rate)


def test_shared_position_bias_in_the_group_of_the_lowest_block():
    model = classifier(11, 3, positions="relative", **SMALL)
    lower, upper = model.encoder.body.blocks
    (table,) = model.encoder.body.position_bias.variables
    layers = [model.encoder.embedding, [model.encoder.body.position_bias, lower], upper]
    rates = discriminative_rates(sgd(1.0), layers, factor=2.0)
    rates.build(model.trainable_variables)
    learning_rates = {v.path: float(rates._optimizer_map(v).learning_rate) for v in model.variables}
    assert learning_rates[table.path] == 0.25
    assert learning_rates[upper.feed_forward.outer.kernel.path] == 0.5
    assert learning_rates[model.head.dense.kernel.path] == 1.0


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_resumed_training_equals_uninterrupted_training(tmp_path):
    """The optimizer's state, such as the momentum of each layer, is restored."""

    def compiled():
        keras.utils.set_random_seed(0)
        model = classifier(11, 3, name="same", **SMALL)
        rate = LinearWarmup(0.1, warmup_steps=4)
        optimizer = keras.optimizers.SGD(rate, momentum=0.9)
        model.compile(discriminative_rates(optimizer, bottom_up(model)), LOSS)
        return model

    whole = compiled()
    whole.fit(IDS, LABELS, epochs=4, verbose=0)
    first, second = compiled(), compiled()
    first.fit(IDS, LABELS, epochs=2, verbose=0)
    first.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(array(loaded(IDS)), array(first(IDS)))
    second.optimizer.build(second.trainable_variables)
    second.set_weights(first.get_weights())
    second.optimizer.set_weights([array(x) for x in first.optimizer.variables])
    second.fit(IDS, LABELS, epochs=2, verbose=0)
    for weight, expected in zip(second.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layers, options, message",
    [
        (lambda model: [], {}, r"Received: layers=\[\]"),
        (lambda model: [keras.layers.Dense(3, name="new")], {}, r"Received: \['new'\]"),
        (
            lambda model: [model.encoder, model.encoder.body],
            {},
            r"Received: \['transformer_encoder",
        ),
        (bottom_up, {"factor": 0.0}, "Received: factor=0.0"),
    ],
)
def test_invalid_layers_raise(layers, options, message):
    with pytest.raises(ValueError, match=message):
        discriminative_rates(sgd(0.1), layers(classifier(11, 3, **SMALL)), **options)


def with_lora(rank=2, alpha=None):
    model = classifier(11, 3, **SMALL)
    enable_lora(model.encoder, rank, alpha)
    return model


def projections(model):
    attentions = [layer for layer in model._flatten_layers() if isinstance(layer, BaseAttention)]
    return [
        dense
        for attention in attentions
        for dense in attention._flatten_layers(include_self=False)
        if isinstance(dense, Linear)
    ]


def test_lora_trains_a_and_b_of_every_projection_and_the_head():
    model = with_lora()
    names = [variable.name for variable in model.encoder.trainable_variables]
    # two blocks, each with the fused projection and the output
    assert sorted(names) == ["lora_kernel_a"] * 4 + ["lora_kernel_b"] * 4
    assert len(model.head.trainable_variables) == 2
    before = values(model)
    fitted(model, keras.optimizers.Adam(0.01), epochs=3)
    moved = {path for path, value in values(model).items() if (value != before[path]).any()}
    assert moved == {variable.path for variable in model.trainable_variables}


def test_lora_trains_in_frozen_layers():
    model = classifier(11, 3, **SMALL)
    model.encoder.trainable = False
    enable_lora(model.encoder, rank=2)
    names = {variable.name for variable in model.encoder.trainable_variables}
    assert names == {"lora_kernel_a", "lora_kernel_b"}
    model = classifier(11, 3, **SMALL)
    model.encoder.body.blocks[0].trainable = False
    enable_lora(model.encoder, rank=2)
    assert len(model.encoder.trainable_variables) == 8  # A and B of two projections a block


def test_lora_does_not_change_outputs_before_training():
    model = classifier(11, 3, **SMALL)
    before = array(model(IDS))
    enable_lora(model, rank=2)
    np.testing.assert_array_equal(array(model(IDS)), before)
    assert not model.head.trainable_variables  # the head is part of the model


@pytest.mark.parametrize("alpha", [None, 6.0])
def test_lora_projection_is_w_plus_the_scaled_product(alpha):
    """Hu et al. 2022, equation 3: h = W x + alpha / r * B A x."""
    model = fitted(with_lora(2, alpha), keras.optimizers.Adam(0.05), epochs=3)
    x = np.random.default_rng(0).normal(size=(2, 3, 8))
    for dense in projections(model):
        w, b, a, down = map(
            array, (dense._kernel, dense.bias, dense.lora_kernel_a, dense.lora_kernel_b)
        )
        assert a.shape[1] == 2 and np.abs(a @ down).max() > 1e-3
        expected = x @ w + (alpha or 2) / 2 * (x @ a) @ down + b
        np.testing.assert_allclose(array(dense(x)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_saving_adds_the_update_to_the_weights(tmp_path):
    model = fitted(with_lora(), keras.optimizers.Adam(0.05), epochs=5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(array(loaded(IDS)), array(model(IDS)), rtol=1e-5, atol=1e-6)
    assert loaded.count_params() == classifier(11, 3, **SMALL).count_params()
    assert len(loaded.trainable_variables) == len(loaded.variables)
    before = loaded.get_weights()
    enable_lora(loaded.encoder, rank=3)  # again, on the loaded model
    after = array(fitted(loaded, keras.optimizers.Adam(0.05), epochs=5)(IDS))
    assert np.abs(after - array(model(IDS))).max() > 1e-2
    kernels = [array(dense._kernel) for dense in projections(loaded)]
    assert all(any(np.array_equal(kernel, w) for w in before) for kernel in kernels)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_lora_in_a_translator():
    model = transformer(11, 12, "tiny", share_embeddings=False, **SMALL)
    enable_lora(model, rank=2)
    # the encoder's blocks have two projections, the decoder's two and four
    assert len(model.trainable_variables) == 2 * (2 * 2 + 2 * 6)
    inputs = {"source": IDS, "target": np.array([[1, 4, 5], [1, 6, 0]])}
    before, kernels = array(model(inputs)), [array(d._kernel) for d in projections(model)]
    model.compile(keras.optimizers.Adam(0.05), LOSS)
    model.fit(inputs, np.array([[4, 5, 2], [6, 2, 2]]), epochs=3, verbose=0)
    assert np.abs(array(model(inputs)) - before).max() > 1e-2
    for dense, kernel in zip(projections(model), kernels, strict=True):
        np.testing.assert_array_equal(array(dense._kernel), kernel)


def test_lora_without_attention_or_twice_raises():
    with pytest.raises(ValueError, match="`layer` must .* Received: layer='mine'"):
        enable_lora(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)], name="mine"), 2)
    with pytest.raises(ValueError, match="already enabled"):
        enable_lora(with_lora().encoder, 2)


ONE_LAYER = {**SMALL, "num_layers": 1, "hidden_dim": 32}
QUANTIZED = {
    "classifier": lambda: classifier(50, 3, **ONE_LAYER),
    "masked language model": lambda: masked_lm(50, **ONE_LAYER),
    "language model": lambda: causal_lm(50, **ONE_LAYER),
}


@pytest.mark.filterwarnings("ignore")  # Keras warns about each layer that it does not quantize
@pytest.mark.parametrize(
    "kind",
    [
        "classifier",
        pytest.param("masked language model", marks=pytest.mark.slow),
        pytest.param("language model", marks=pytest.mark.slow),
    ],
)
def test_int8_is_smaller_with_nearly_the_same_outputs(kind, tmp_path):
    model = QUANTIZED[kind]()
    model.save(tmp_path / "float.keras")
    ids = np.random.default_rng(0).integers(4, 50, (16, 7))
    before, size = array(model(ids)), bytes_of(model)
    model.quantize("int8")
    after = array(model(ids))
    # The rounding error of a weight or input is at most 1/254 of the largest in its row.
    assert 0 < np.abs(after - before).max() < 0.05 * np.abs(before).max()
    assert bytes_of(model) < 0.4 * size
    model.save_weights(tmp_path / "int8.weights.h5")
    loaded = keras.models.load_model(tmp_path / "float.keras")
    loaded.quantize("int8")
    loaded.load_weights(tmp_path / "int8.weights.h5")
    np.testing.assert_allclose(array(loaded(ids)), after, rtol=1e-5, atol=1e-6)


def bytes_of(model):
    return sum(array(variable).nbytes for variable in model.variables)
