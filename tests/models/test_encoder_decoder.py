"""The encoder-decoder model: fit, save, reload, generate."""

import keras
import numpy as np
import pytest

from helpers import array, fit_steps
from keras_attention.generation import BeamSearch, GreedySearch, Sampling
from keras_attention.models import EncoderDecoder, seq2seq, transformer
from keras_attention.training import MaskedCrossEntropy

SOURCE = np.array([[5, 6, 7, 2, 0], [8, 9, 10, 4, 2], [2, 0, 0, 0, 0], [7, 7, 2, 0, 0]])
LABELS = np.array([[6, 5, 2, 0], [4, 4, 8, 2], [2, 0, 0, 0], [9, 2, 0, 0]])
TARGET = np.array([[1, 6, 5, 0], [1, 4, 4, 8], [1, 0, 0, 0], [1, 9, 0, 0]])
INPUTS = {"source": SOURCE, "target": TARGET}
STRATEGIES = [
    GreedySearch(max_new_tokens=5),
    BeamSearch(3, num_return_sequences=2, max_new_tokens=5),
    Sampling(seed=1, max_new_tokens=5),
]


def make(seed=0, **options):
    model = seq2seq(11, 12, embedding_dim=8, units=8, dropout=0.0, **options)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.7)
    return model


def test_functional_model_of_two_inputs():
    model = make()
    assert isinstance(model, EncoderDecoder)
    assert set(model.input) == {"source", "target"}
    assert model.output_shape == (None, None, 12)
    np.testing.assert_allclose(
        model.predict(INPUTS, verbose=0), array(model(INPUTS)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "options",
    [
        {"encoder_layers": 2, "decoder_layers": 2, "tie_embeddings": True},
        {"cell": "lstm", "attention": "luong", "input_feeding": True},
    ],
)
def test_reload_gives_the_same(options, tmp_path):
    model = make(**options)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is EncoderDecoder
    np.testing.assert_array_equal(array(loaded(INPUTS)), array(model(INPUTS)))
    strategy = STRATEGIES[1]
    expected, output = (
        m.generate(SOURCE, strategy, return_attention=True) for m in (model, loaded)
    )
    for expected_field, field in zip(expected, output, strict=True):
        np.testing.assert_array_equal(field, expected_field)


def generate_without_cache(model, strategy):
    """Output of a new model with the same weights, which has compiled nothing before."""
    other = EncoderDecoder.from_config(model.get_config())
    other.set_weights(model.get_weights())
    return other.generate(SOURCE, strategy)


@pytest.mark.slow_on_tensorflow
def test_it_learns_and_generate_uses_the_current_weights():
    model, strategy = make(), GreedySearch(max_new_tokens=4)
    before = model.generate(SOURCE, strategy)
    model.compile(keras.optimizers.Adam(0.02), MaskedCrossEntropy())
    losses = fit_steps(model, INPUTS, LABELS, 40)
    assert losses[-1] < 0.1 * losses[0]
    after = model.generate(SOURCE, strategy)
    np.testing.assert_array_equal(after.ids[:, 0], LABELS)
    assert (after.ids != before.ids).any()
    model.fit(INPUTS, LABELS, epochs=1, verbose=0)  # training continues after generation
    again = model.generate(SOURCE, strategy)
    assert (again.scores != after.scores).any()
    expected = generate_without_cache(model, strategy)
    np.testing.assert_array_equal(expected.ids, again.ids)
    np.testing.assert_allclose(expected.scores, again.scores, rtol=1e-5)


class GenerateEachEpoch(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.scores = []

    def on_epoch_end(self, epoch, logs=None):
        self.scores.append(self.model.generate(SOURCE, GreedySearch(max_new_tokens=4)).scores.sum())


@pytest.mark.slow_on_tensorflow
@pytest.mark.usefixtures("eager")
def test_generate_in_a_callback_uses_the_current_weights():
    model, callback = make(), GenerateEachEpoch()
    model.compile(keras.optimizers.Adam(0.02), MaskedCrossEntropy())
    model.fit(INPUTS, LABELS, epochs=3, verbose=0, callbacks=[callback])
    assert len(set(callback.scores)) == 3
    last = generate_without_cache(model, GreedySearch(max_new_tokens=4)).scores.sum()
    np.testing.assert_allclose(callback.scores[-1], last, rtol=1e-5)
    np.testing.assert_allclose(
        model.generate(SOURCE, GreedySearch(max_new_tokens=4)).scores.sum(), last, rtol=1e-5
    )


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("strategy", STRATEGIES[:2])
def test_rows_of_a_batch_are_independent(strategy):
    """And padding is ignored: each row alone has no padding."""
    model = make()
    together = model.generate(SOURCE, strategy, return_attention=True)
    assert together.ids.dtype == "int32" and together.scores.dtype == "float32"
    for row in range(len(SOURCE)):
        source = SOURCE[row : row + 1, : (SOURCE[row] > 0).sum()]
        alone = model.generate(source, strategy, return_attention=True)
        np.testing.assert_array_equal(alone.ids[0], together.ids[row])
        np.testing.assert_allclose(alone.scores[0], together.scores[row], rtol=1e-4)
        weights = together.attention[row]
        np.testing.assert_allclose(
            alone.attention[0], weights[..., : source.shape[1]], rtol=1e-3, atol=1e-6
        )
        assert not weights[..., source.shape[1] :].any()
        np.testing.assert_allclose(weights.sum(-1), together.ids[row] > 0, atol=1e-5)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_empty_batch(strategy):
    output = make().generate(SOURCE[:0], strategy, return_attention=True)
    n = 2 if isinstance(strategy, BeamSearch) else 1
    assert output.ids.shape == (0, n, 5)
    assert output.scores.shape == (0, n)
    assert output.attention.shape == (0, n, 5, 5)


def test_each_strategy_has_its_own_graph():
    model = make()
    one = model.generate(SOURCE, GreedySearch(max_new_tokens=3))
    two = model.generate(SOURCE, GreedySearch(max_new_tokens=5))
    assert one.ids.shape[-1] == 3 and two.ids.shape[-1] == 5
    assert one.attention is None
    assert (
        model.generate(SOURCE, GreedySearch(max_new_tokens=3), return_attention=True).attention
        is not None
    )


@pytest.mark.parametrize(
    "source, message",
    [
        ([5, 6, 2], r"shape \(batch, length\).* Received: source.shape=\(3,\)"),
        ([[5, 11]], "ids from 0 to 10. Received: ids from 5 to 11"),
        ([[-1, 5]], "ids from 0 to 10. Received: ids from -1 to 5"),
        ([[], []], r"shape \(batch, length\).* Received: source.shape=\(2, 0\)"),
    ],
)
def test_invalid_sources(source, message):
    with pytest.raises(ValueError, match=f"`source` must .*{message}"):
        make().generate(source)


def test_more_beams_than_tokens():
    with pytest.raises(
        ValueError, match="`num_beams` .* Received: num_beams=11, vocabulary_size=12"
    ):
        make().generate(SOURCE, BeamSearch(11))


def test_rows_of_several_pairs_require_a_transformer():
    rnn, blocks = make(), transformer(11, 12, "tiny", num_layers=1, hidden_dim=8, num_heads=2)
    with pytest.raises(ValueError, match="requires a `TextEncoder` and a `TransformerDecoder`"):
        EncoderDecoder(blocks.encoder, rnn.decoder, packed=True)
    with pytest.raises(ValueError, match="requires a `TransformerEncoder` and reverse=False"):
        EncoderDecoder(rnn.encoder, blocks.decoder, packed=True)
