import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.models import transformer
from keras_attention.training import Bfloat16, MaskedCrossEntropy

SIZES = {"num_layers": 1, "hidden_dim": 16, "intermediate_dim": 16, "num_heads": 2, "dropout": 0.0}


def batch():
    ids = np.random.default_rng(0).integers(4, 30, (8, 7)).astype("int32")
    return {"source": ids, "target": ids[:, :-1]}, ids[:, 1:]


def model(policy="float32"):
    keras.config.set_dtype_policy(policy)
    built = transformer(30, 30, "tiny", share_embeddings=True, **SIZES)
    keras.config.set_dtype_policy("float32")
    built.compile(keras.optimizers.SGD(0.5), MaskedCrossEntropy())
    return built


class RecordDtypes(keras.callbacks.Callback):
    """Records the layers' compute dtypes at the end of each batch and epoch."""

    def __init__(self):
        super().__init__()
        self.batch_dtypes, self.epoch_dtypes = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.batch_dtypes.append(dtypes(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.epoch_dtypes.append(dtypes(self.model))


def dtypes(model):
    return {layer.compute_dtype for layer in model._flatten_layers()}


@pytest.mark.slow
def test_training_equals_that_of_a_mixed_bfloat16_model():
    """Two epochs of two batches; float32 computation gives different weights."""
    x, labels = batch()
    switched, always, never = model(), model("mixed_bfloat16"), model()
    start = [np.array(weight) for weight in switched.get_weights()]
    results = []
    for each, callbacks in ((switched, [Bfloat16()]), (always, []), (never, [])):
        each.set_weights(start)
        each.fit(x, labels, batch_size=4, epochs=2, shuffle=False, callbacks=callbacks, verbose=0)
        results.append(np.concatenate([weight.ravel() for weight in each.get_weights()]))
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-6)
    assert np.abs(results[0] - results[2]).max() > 1e-4


@pytest.mark.usefixtures("eager")
def test_other_callbacks_see_a_float32_model():
    x, labels = batch()
    trained, record = model(), RecordDtypes()
    expected = trained(x)
    trained.optimizer.learning_rate = 0.0
    trained.fit(x, labels, batch_size=4, epochs=2, callbacks=[Bfloat16(), record], verbose=0)
    assert record.batch_dtypes == [{"bfloat16"}] * 4
    assert record.epoch_dtypes == [{"float32"}] * 2
    assert dtypes(trained) == {"float32"}
    after = trained(x)
    assert keras.backend.standardize_dtype(after.dtype) == "float32"
    np.testing.assert_array_equal(ops.convert_to_numpy(after), ops.convert_to_numpy(expected))


@pytest.mark.usefixtures("eager")
def test_restore_after_an_interruption():
    x, labels = batch()

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    trained, precision = model(), Bfloat16()
    with pytest.raises(KeyboardInterrupt):
        trained.fit(x, labels, callbacks=[precision, Interrupt()], verbose=0)
    assert dtypes(trained) == {"bfloat16"}
    precision.restore()
    assert dtypes(trained) == {"float32"}


@pytest.mark.slow
def test_fits_with_and_without_it_keep_their_own_precision():
    """Compared with models that are fitted for the first time."""
    x, labels = batch()

    def fit(fitted, with_bfloat16, start):
        fitted.set_weights(start)
        callbacks = [Bfloat16()] if with_bfloat16 else []
        fitted.fit(x, labels, batch_size=4, shuffle=False, callbacks=callbacks, verbose=0)
        return np.concatenate([weight.ravel() for weight in fitted.get_weights()])

    used = model()
    start = [np.array(weight) for weight in used.get_weights()]
    expected = {each: fit(model(), each, start) for each in (True, False)}
    assert np.abs(expected[True] - expected[False]).max() > 1e-4
    for with_bfloat16 in (False, True, True, False):
        received = fit(used, with_bfloat16, start)
        np.testing.assert_allclose(received, expected[with_bfloat16], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_evaluation_after_a_fit_is_in_float32_and_functions_are_kept():
    x, labels = batch()
    trained, expected = model(), model()
    expected.set_weights(trained.get_weights())
    trained.optimizer.learning_rate = 0.0
    before = trained.evaluate(x, labels, verbose=0)
    functions = []

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            functions.append(trained.train_function)

    history = trained.fit(
        x, labels, batch_size=4, epochs=2, callbacks=[Bfloat16(), Record()],
        validation_data=(x, labels), verbose=0,
    ).history  # fmt: skip
    assert len(set(functions)) == 1  # compiled once for both epochs
    assert abs(history["val_loss"][0] - before) > 1e-5  # validation is in bfloat16
    assert trained.evaluate(x, labels, verbose=0) == pytest.approx(before, abs=1e-7)
    after = trained.predict(x, verbose=0)
    np.testing.assert_allclose(after, array(expected(x)), rtol=1e-5, atol=1e-6)
