import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.layers import EncoderBlock, Patches, TransformerEncoder
from keras_attention.models import captioner
from keras_attention.ops import masks
from keras_attention.ops.ids import PAD, START
from keras_attention.training import MaskedCrossEntropy

KINDS = ["soft", "hard", "luong", "transformer", None]
SIZE, VOCABULARY = (16, 24), 13
every_kind = pytest.mark.parametrize("attention", KINDS)


def images(count=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE, 3)).astype("uint8")


def made(attention, **options):
    """Patches as the grid, 2 x 3 cells: quick, and every cell is its own pixels."""
    grid = Patches(8, 12)
    model = captioner(VOCABULARY, SIZE, attention, grid, hidden_dim=8, num_heads=2, **options)
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


@every_kind
def test_steps_are_teacher_forcing(attention):
    """And where it looked is a distribution over the cells; without attention, nowhere."""
    model, source = made(attention), images()
    found = model.generate(source, GreedySearch(max_new_tokens=5), attention=True)
    ids = found.ids[:, 0]
    target = np.concatenate([np.ones((2, 1), ids.dtype), ids[:, :-1]], axis=1)
    logits = np.array(ops.convert_to_numpy(model({"source": source, "target": target})))
    logits[..., [PAD, START]] = -np.inf  # which are never written
    written = ids != 0
    np.testing.assert_array_equal(logits.argmax(-1)[written], ids[written])
    assert found.attention.shape == (2, 1, ids.shape[1], 6)
    total = found.attention.sum(-1)[:, 0][written]
    np.testing.assert_allclose(total, np.full_like(total, attention is not None), atol=1e-5)


def test_with_a_body_cells_learn_of_each_other():
    source = images(1)
    changed = source.copy()
    changed[:, :8, :8] = 255 - changed[:, :8, :8]  # the first cell
    for body, others in ((None, False), (TransformerEncoder(EncoderBlock(2, 16), 1), True)):
        encoder = made("soft", body=body).encoder
        apart = array(encoder(source)["sequence"]) - array(encoder(changed)["sequence"])
        apart = np.abs(apart[0]).max(-1)  # (cells,)
        assert apart[0] > 0.01
        np.testing.assert_array_equal(apart[1:] > 1e-5, others)


@every_kind
def test_a_beam_finds_what_scores_at_least_as_much(attention):
    model, source = made(attention), images()
    greedy = model.generate(source, GreedySearch(max_new_tokens=5))
    beam = model.generate(source, BeamSearch(4, length_penalty=0.0, max_new_tokens=5))
    assert (beam.scores[:, 0] >= greedy.scores[:, 0] - 1e-5).all()


@every_kind
def test_the_file_says_the_same(attention, tmp_path):
    model, source = made(attention), images()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    inputs = {"source": source, "target": np.array([[1, 4, 5], [1, 6, 0]])}
    np.testing.assert_allclose(
        ops.convert_to_numpy(loaded(inputs)), ops.convert_to_numpy(model(inputs)), atol=1e-6
    )
    np.testing.assert_array_equal(
        loaded.generate(source, GreedySearch(max_new_tokens=4)).ids,
        model.generate(source, GreedySearch(max_new_tokens=4)).ids,
    )


@pytest.mark.parametrize("attention", ["soft", "hard"])
def test_it_learns_which_image_is_which(attention):
    """Bright images have one caption and dark ones another."""
    rng = np.random.default_rng(0)
    source = rng.integers(0, 60, (64, *SIZE, 3)).astype("uint8")
    bright = np.arange(64) % 2 == 1
    source[bright] += 150
    labels = np.where(bright[:, None], [[5, 6, 2]], [[7, 8, 2]])
    target = np.concatenate([np.ones((64, 1), int), labels[:, :-1]], axis=1)
    model = captioner(VOCABULARY, SIZE, attention, Patches(8, 12), hidden_dim=16, dropout=0.0)
    model.compile(keras.optimizers.Adam(0.02), MaskedCrossEntropy())
    model.fit({"source": source, "target": target}, labels, batch_size=16, epochs=8, verbose=0)
    ids = model.generate(source, GreedySearch(max_new_tokens=3)).ids[:, 0]
    np.testing.assert_array_equal(ids, labels)


def test_the_doubly_stochastic_loss_is_the_papers():
    """Xu et al. 2015, equation 14, with the scores of teacher forcing by steps."""
    model, source = made("soft", doubly_stochastic=0.7, dropout=0.0), images()
    target = np.array([[1, 4, 5, 6], [1, 7, 0, 0]])
    encoded = model.encoder(source)
    mask = model.encoder.compute_mask(source)
    constants, state = model.decoder.start(encoded, mask)
    scores = []
    for position in range(4):
        ids = target[:, position : position + 1]
        _, state, score = model.decoder.step(ids, position, state, constants, True)
        scores.append(ops.convert_to_numpy(score)[:, 0])
    kept = ops.convert_to_numpy(masks.padding_mask(target))
    looked = (np.stack(scores, 1).astype("float64") * kept[..., None]).sum(1)  # (B, cells)
    expected = 0.7 * ((1 - looked) ** 2).sum() / kept.sum()

    model({"source": source, "target": target}, training=True)
    (added,) = model.losses
    assert float(added) == pytest.approx(expected, rel=1e-5)
    model({"source": source, "target": target})
    assert not model.losses


def test_the_gate_and_the_loss_are_of_soft_attention_alone():
    soft, luong = made("soft"), made("luong")
    assert soft.decoder.cell.gate is not None and soft.decoder.doubly_stochastic == 1.0
    assert luong.decoder.cell.gate is None and luong.decoder.doubly_stochastic == 0.0


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="attention: .* Received: attention='firm'"):
        captioner(VOCABULARY, SIZE, "firm")
    model = made("soft")
    with pytest.raises(ValueError, match=r"source: .* Received: shape=\(2, 16, 16, 3\)"):
        model.generate(np.zeros((2, 16, 16, 3), "uint8"))
