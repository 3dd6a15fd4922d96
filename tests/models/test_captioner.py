import functools

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array, compiled_on_jax
from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.layers import EncoderBlock, Patches, TransformerEncoder
from keras_attention.models import captioner
from keras_attention.ops import masks
from keras_attention.ops.ids import PAD, START
from keras_attention.training import MaskedCrossEntropy

KINDS = {
    "soft": {"attention": "soft"},
    "hard": {"attention": "hard"},
    "luong": {"attention": "luong"},
    "none": {"attention": None},
    "transformer": {"decoder": "transformer"},
}
SIZE, VOCABULARY = (16, 24), 13
every_kind = pytest.mark.parametrize("kind", KINDS)


def images(count=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE, 3)).astype("uint8")


def make(kind, **options):
    """Patches as the backbone, 2 x 3 cells: fast, and each cell sees its own pixels only."""
    backbone = Patches(8, 12)
    options = {**KINDS[kind], "hidden_dim": 8, "num_heads": 2, **options}
    model = captioner(VOCABULARY, SIZE, backbone=backbone, **options)
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


@functools.cache
def shared_model(kind):
    """Model of a kind, for tests that do not change it."""
    return make(kind)


GREEDY = GreedySearch(max_new_tokens=5)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_kind
def test_generation_matches_teacher_forcing(kind):
    """And the attention weights sum to 1 over the cells, or are 0 without attention."""
    model, source = shared_model(kind), images()
    output = model.generate(source, GREEDY, return_attention=True)
    ids = output.ids[:, 0]
    target = np.concatenate([np.ones((2, 1), ids.dtype), ids[:, :-1]], axis=1)
    logits = array(compiled_on_jax(model)({"source": source, "target": target})).copy()
    logits[..., [PAD, START]] = -np.inf  # never generated
    is_token = ids != 0
    np.testing.assert_array_equal(logits.argmax(-1)[is_token], ids[is_token])
    assert output.attention.shape == (2, 1, ids.shape[1], 6)
    total = output.attention.sum(-1)[:, 0][is_token]
    np.testing.assert_allclose(total, np.full_like(total, kind != "none"), atol=1e-5)


def test_only_a_body_mixes_the_cells():
    source = images(1)
    changed = source.copy()
    changed[:, :8, :8] = 255 - changed[:, :8, :8]  # the first cell
    for body, others in ((None, False), (TransformerEncoder([EncoderBlock(2, 16)]), True)):
        encoder = make("soft", body=body).encoder
        difference = array(encoder(source)["sequence"]) - array(encoder(changed)["sequence"])
        difference = np.abs(difference[0]).max(-1)  # (cells,)
        assert difference[0] > 0.01
        np.testing.assert_array_equal(difference[1:] > 1e-5, others)


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_kind
def test_beam_search_scores_at_least_as_high_as_greedy_search(kind):
    model, source = shared_model(kind), images()
    greedy = model.generate(source, GREEDY, return_attention=True)
    beam = model.generate(source, BeamSearch(4, length_penalty=0.0, max_new_tokens=5))
    assert (beam.scores[:, 0] >= greedy.scores[:, 0] - 1e-5).all()


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@every_kind
def test_reload_gives_the_same(kind, tmp_path):
    model, source = shared_model(kind), images()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    inputs = {"source": source, "target": np.array([[1, 4, 5], [1, 6, 0]])}
    np.testing.assert_allclose(
        ops.convert_to_numpy(loaded(inputs)), ops.convert_to_numpy(model(inputs)), atol=1e-6
    )
    np.testing.assert_array_equal(
        loaded.generate(source, GREEDY, return_attention=True).ids,
        model.generate(source, GREEDY, return_attention=True).ids,
    )


@pytest.mark.slow_on_tensorflow
@pytest.mark.parametrize("attention", ["soft", "hard"])
def test_it_learns_to_tell_images_apart(attention):
    """Bright images have one caption and dark ones another."""
    rng = np.random.default_rng(0)
    source = rng.integers(0, 60, (64, *SIZE, 3)).astype("uint8")
    bright = np.arange(64) % 2 == 1
    source[bright] += 150
    labels = np.where(bright[:, None], [[5, 6, 2]], [[7, 8, 2]])
    target = np.concatenate([np.ones((64, 1), int), labels[:, :-1]], axis=1)
    model = captioner(
        VOCABULARY, SIZE, attention=attention, backbone=Patches(8, 12), hidden_dim=16, dropout=0.0
    )
    model.compile(keras.optimizers.Adam(0.02), MaskedCrossEntropy())
    model.fit({"source": source, "target": target}, labels, batch_size=16, epochs=8, verbose=0)
    ids = model.generate(source, GreedySearch(max_new_tokens=3)).ids[:, 0]
    np.testing.assert_array_equal(ids, labels)


def test_doubly_stochastic_loss_is_the_papers():
    """Xu et al. 2015, equation 14, with the attention weights of single steps."""
    model, source = make("soft", doubly_stochastic=0.7, dropout=0.0), images()
    target = np.array([[1, 4, 5, 6], [1, 7, 0, 0]])
    encoded = model.encoder(source)
    mask = model.encoder.compute_mask(source)
    constants, state = model.decoder.start(encoded, mask)
    weights = []
    for position in range(4):
        ids = target[:, position : position + 1]
        _, state, step_weights = model.decoder.step(ids, position, state, constants, True)
        weights.append(ops.convert_to_numpy(step_weights)[:, 0])
    target_mask = ops.convert_to_numpy(masks.padding_mask(target))
    totals = (np.stack(weights, 1).astype("float64") * target_mask[..., None]).sum(1)  # (B, cells)
    expected = 0.7 * ((1 - totals) ** 2).sum() / target_mask.sum()

    model({"source": source, "target": target}, training=True)
    (loss,) = model.losses
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    model({"source": source, "target": target})
    assert not model.losses


def test_gate_and_doubly_stochastic_loss_belong_to_soft_attention():
    soft, luong = make("soft"), make("luong")
    assert soft.decoder.cell.gate is not None and soft.decoder.doubly_stochastic == 1.0
    assert not hasattr(luong.decoder.cell, "gate") and luong.decoder.doubly_stochastic == 0.0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"attention": "firm"}, "`attention` must .* Received: attention='firm'"),
        ({"decoder": "gru"}, "`decoder` must .* Received: decoder='gru'"),
        ({"decoder": "transformer", "attention": "hard"}, "'soft' with .*attention='hard'"),
        ({"decoder": "transformer", "attention": None}, "'soft' with .*attention=None"),
    ],
)
def test_invalid_options(options, message):
    with pytest.raises(ValueError, match=message):
        captioner(VOCABULARY, SIZE, **options)


def test_images_of_another_size_are_rejected():
    with pytest.raises(ValueError, match=r"source.* Received: source.shape=\(2, 16, 16, 3\)"):
        make("soft").generate(np.zeros((2, 16, 16, 3), "uint8"))
