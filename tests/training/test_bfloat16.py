import keras
import numpy as np
import pytest
from keras import ops

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


class Seen(keras.callbacks.Callback):
    """What the callbacks find at the end of a batch and of an epoch."""

    def __init__(self):
        super().__init__()
        self.in_batch, self.at_end = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.in_batch.append(dtypes(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.at_end.append(dtypes(self.model))


def dtypes(model):
    return {layer.compute_dtype for layer in model._flatten_layers()}


def test_it_trains_as_a_model_of_that_policy_does():
    """Two epochs of two batches; float32 products would end elsewhere."""
    x, labels = batch()
    switched, always, never = model(), model("mixed_bfloat16"), model()
    start = [np.array(weight) for weight in switched.get_weights()]
    ends = []
    for each, callbacks in ((switched, [Bfloat16()]), (always, []), (never, [])):
        each.set_weights(start)
        each.fit(x, labels, batch_size=4, epochs=2, shuffle=False, callbacks=callbacks, verbose=0)
        ends.append(np.concatenate([weight.ravel() for weight in each.get_weights()]))
    np.testing.assert_allclose(ends[0], ends[1], rtol=0, atol=1e-6)
    assert np.abs(ends[0] - ends[2]).max() > 1e-4


def test_those_behind_it_find_a_float32_model():
    x, labels = batch()
    trained, seen = model(), Seen()
    expected = trained(x)
    trained.optimizer.learning_rate = 0.0
    trained.fit(x, labels, batch_size=4, epochs=2, callbacks=[Bfloat16(), seen], verbose=0)
    assert seen.in_batch == [{"bfloat16"}] * 4
    assert seen.at_end == [{"float32"}] * 2
    assert dtypes(trained) == {"float32"}
    after = trained(x)
    assert keras.backend.standardize_dtype(after.dtype) == "float32"
    np.testing.assert_array_equal(ops.convert_to_numpy(after), ops.convert_to_numpy(expected))


def test_after_an_interruption_the_policies_are_given_back():
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
