import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.training.callbacks import GenerationScore, RaiseOnNonFinite


def counting_model():
    """A model with one weight, which decreases by exactly 1 in every training step."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y_true, y_pred: y_pred)
    return model


def fit(model, callbacks, epochs=3, validation=False, verbose=0):
    x = np.ones((2, 1), "float32")
    return model.fit(
        x,
        x,
        batch_size=1,
        epochs=epochs,
        callbacks=callbacks,
        validation_data=(x, x) if validation else None,
        verbose=verbose,
    ).history


def called(model):
    return ops.convert_to_numpy(model(np.ones((1, 1), "float32"))).item()


def predicted(model):
    return model.predict(np.ones((1, 1), "float32"), verbose=0).item()


def weight_score(model, read=called, **arguments):
    """A `GenerationScore` whose score is the model's weight at the time of generation."""

    def generate(sources):
        return [str(read(model))] * len(sources)

    arguments = {"verbose": 0, **arguments}
    return GenerationScore(
        generate, ["a", "b"], ["x", "y"], lambda texts, references: float(texts[0]), **arguments
    )


@pytest.mark.parametrize("read", [called, predicted])
@pytest.mark.parametrize("validation", [False, True])
def test_generation_sees_the_current_weights(read, validation):
    model = counting_model()
    history = fit(model, [weight_score(model, read)], validation=validation)
    assert history["val_bleu"] == [-2.0, -4.0, -6.0]
    assert called(model) == -6.0  # training is not affected


def test_every_and_name_arguments():
    model = counting_model()
    history = fit(model, [weight_score(model, every=2, name="val_w")], epochs=5)
    assert history["val_w"] == [-4.0, -8.0]


def test_checkpoint_and_early_stopping_read_the_score(tmp_path):
    model = counting_model()
    scores = iter([0.1, 0.9, 0.5, 0.4, 0.3])
    score = GenerationScore(
        lambda sources: sources, ["a"], ["a"], lambda texts, references: next(scores), verbose=0
    )
    path = str(tmp_path / "best.keras")
    history = fit(
        model,
        [
            score,
            keras.callbacks.ModelCheckpoint(path, "val_bleu", mode="max", save_best_only=True),
            keras.callbacks.EarlyStopping("val_bleu", mode="max", patience=2),
        ],
        epochs=5,
    )
    assert history["val_bleu"] == [0.1, 0.9, 0.5, 0.4]
    best = keras.models.load_model(path, compile=False)
    assert called(best) == -4.0


def test_averaged_weights_are_scored_after_swap_ema_weights(tmp_path):
    model = counting_model()
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, loss=lambda y_true, y_pred: y_pred)
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    save = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    history = fit(model, [swap, weight_score(model), save], epochs=2)
    # The weight is -1, -2, -3, -4; its average starts at -1 and then moves halfway each step.
    assert history["val_bleu"] == [-1.5, -3.125]
    for epoch, expected in enumerate([-1.5, -3.125]):
        saved = keras.models.load_model(tmp_path / f"{epoch + 1}.keras", compile=False)
        assert called(saved) == expected


def test_batches_keep_the_order():
    sizes = []

    def generate(sources):
        sizes.append(len(sources))
        return [source.upper() for source in sources]

    score = GenerationScore(
        generate,
        list("abcde"),
        list("ABxDE"),
        lambda texts, references: np.mean(np.equal(texts, references)),
        batch_size=2,
        verbose=0,
    )
    logs = {}
    score.on_epoch_end(0, logs)
    assert sizes == [2, 2, 1]
    assert logs == {"val_bleu": 0.8}


def test_verbose_prints_a_bar_and_an_example(capsys):
    score = GenerationScore(
        lambda sources: ["ein Hund", "eine Katze"],
        ["a dog", "a cat"],
        [["der Hund", "ein Hund"], ["die Katze", "eine Katze"]],
        lambda texts, references: 12.5,
    )
    score.on_epoch_end(0, {})
    printed = capsys.readouterr().out
    assert "2/2" in printed
    assert printed.endswith(
        "val_bleu: 12.5000\n  source:    a dog\n  reference: der Hund\n  generated: ein Hund\n"
    )


def test_invalid_arguments_raise():
    def make(**arguments):
        arguments = {"sources": ["a"], "references": ["a"], **arguments}
        return GenerationScore(lambda sources: [], metric=lambda a, b: 0.0, verbose=0, **arguments)

    with pytest.raises(ValueError, match="Received: 0 sources and 0 references"):
        make(sources=[], references=[])
    with pytest.raises(ValueError, match="Received: 1 sources and 2 references"):
        make(references=["a", "b"])
    with pytest.raises(ValueError, match="Received: every=0"):
        make(every=0)
    with pytest.raises(ValueError, match="Received: every=1, batch_size=0"):
        make(batch_size=0)
    with pytest.raises(ValueError, match="Received: 0 texts for 1 sources"):
        make().on_epoch_end(0, {})


@pytest.mark.parametrize("name, value", [("loss", np.nan), ("val_bleu", np.inf)])
def test_logs_that_are_not_finite_name_value_and_epoch(name, value):
    callback = RaiseOnNonFinite()
    callback.set_model(counting_model())
    callback.on_epoch_end(0, {"loss": 1.0, "val_bleu": 0.0})
    with pytest.raises(ValueError, match=f"`{name}` must be finite.*{name}={value} in epoch 3"):
        callback.on_epoch_end(2, {"loss": 1.0, name: value})


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_that_are_not_finite_end_the_training(value):
    model = counting_model()
    model.layers[0].kernel.assign([[value]])
    callback = RaiseOnNonFinite()
    callback.set_model(model)
    with pytest.raises(ValueError, match="kernel` must be finite.*in epoch 1"):
        callback.on_epoch_end(0, {"loss": 1.0})
