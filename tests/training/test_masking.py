"""BERT's masking against its shares, and what `fit` gets of it."""

import keras
import numpy as np
import pytest

from keras_attention.ops.ids import UNKNOWN
from keras_attention.training import MaskedTexts, mask_tokens

VOCABULARY = 50
WIDE = np.random.default_rng(1).integers(4, VOCABULARY, (400, 250))  # 100,000 tokens
IDS = np.array([[7, 5, 6, 2, 0, 0], [1, 8, 3, 9, 4, 2], [2, 0, 0, 0, 0, 0]])


def test_shares_are_the_papers():
    """15% asked for; of those 80% hidden, 10% another token, 10% left (section 3.1)."""
    read, asked = mask_tokens(WIDE, VOCABULARY, rng=np.random.default_rng(0))
    chosen = asked > 0
    assert read.dtype == asked.dtype == "int32"
    np.testing.assert_array_equal(asked[chosen], WIDE[chosen])
    np.testing.assert_array_equal(read[~chosen], WIDE[~chosen])
    hidden, same = read[chosen] == UNKNOWN, read[chosen] == WIDE[chosen]
    other = ~hidden & ~same
    # four standard deviations of the binomial
    assert abs(chosen.mean() - 0.15) < 4 * (0.15 * 0.85 / WIDE.size) ** 0.5
    for share, expected in (
        (hidden, 0.8),
        (same, 0.1 + 0.1 / 46),  # any token may be the one that was there
        (other, 0.1 - 0.1 / 46),
    ):
        assert abs(share.mean() - expected) < 4 * (expected * (1 - expected) / chosen.sum()) ** 0.5
    # any token: each of the 46, as often as the others, and no special one
    assert np.unique(read[chosen][other]).tolist() == list(range(4, VOCABULARY))


def test_special_ids_are_not_asked_for():
    read, asked = mask_tokens(IDS, 10, rate=1.0, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(asked, np.where(IDS >= 4, IDS, 0))
    np.testing.assert_array_equal(read[IDS < 4], IDS[IDS < 4])


def test_the_same_chance_hides_the_same():
    first, second, other = (mask_tokens(WIDE, VOCABULARY, rng=rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first[1] != other[1]).any()
    assert (mask_tokens(WIDE, VOCABULARY)[1] != mask_tokens(WIDE, VOCABULARY)[1]).any()


def rng(seed):
    return np.random.default_rng(seed)


def texts_of(batches):
    """What was there before anything was hidden, where it was not."""
    pairs = [batches[place] for place in range(len(batches))]
    return [np.where(asked > 0, asked, read) for read, asked in pairs]


def test_every_row_comes_once_an_epoch_in_a_new_order_and_mask():
    batches = MaskedTexts(WIDE[:10], VOCABULARY, batch_size=4)
    first, first_texts = [batches[place] for place in range(len(batches))], texts_of(batches)
    np.testing.assert_array_equal(batches[1], first[1])  # asked twice, it is the same
    batches.on_epoch_end()
    second_texts = texts_of(batches)
    assert [len(texts) for texts in second_texts] == [4, 4, 2]
    for texts in (first_texts, second_texts):
        rows = sorted(map(tuple, np.concatenate(texts)))
        assert rows == sorted(map(tuple, WIDE[:10]))
    assert (np.concatenate(first_texts) != np.concatenate(second_texts)).any()

    again = MaskedTexts(WIDE[:10], VOCABULARY, batch_size=4)
    np.testing.assert_array_equal(again[0], first[0])
    assert (MaskedTexts(WIDE[:10], VOCABULARY, 4, seed=1)[0][0] != first[0][0]).any()


def test_the_mask_is_fresh_where_the_order_is_not():
    """One row, so its order cannot change."""
    batches = MaskedTexts(WIDE[:1], VOCABULARY)
    before = batches[0][1]
    batches.on_epoch_end()
    assert ((batches[0][1] > 0) != (before > 0)).any()


def test_validation_asks_the_same_each_time():
    batches = MaskedTexts(WIDE[:6], VOCABULARY, batch_size=4, shuffle=False)
    before = batches[0]
    batches.on_epoch_end()
    np.testing.assert_array_equal(batches[0], before)
    np.testing.assert_array_equal(texts_of(batches)[0], WIDE[:4])


def test_fit_moves_from_epoch_to_epoch():
    seen = []

    class Seen(MaskedTexts):
        def __getitem__(self, place):
            seen.append((self.epoch, place))
            return super().__getitem__(place)

    model = keras.Sequential([keras.layers.Embedding(VOCABULARY, 4), keras.layers.Dense(5)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(ignore_class=0))
    model.fit(Seen(WIDE[:4] % 5, VOCABULARY, batch_size=2), epochs=2, verbose=0)
    # Keras may look at the data once before the first epoch, or reach ahead behind the last
    whole = [epoch for epoch in range(4) if {(epoch, 0), (epoch, 1)} <= set(seen)]
    assert len(whole) >= 2


@pytest.mark.parametrize(
    "ids, options, message",
    [
        (IDS, {"rate": 0}, "Received: rate=0"),
        (IDS, {"rate": 1.5}, "Received: rate=1.5"),
        (IDS, {"vocabulary_size": 9}, r"from 0 to 8. Received: shape=\(3, 6\), ids from 0 to 9"),
        (IDS[0], {}, r"Received: shape=\(6,\)"),
        (IDS, {"batch_size": 0}, "batch_size=0"),
        (IDS[:0], {}, r"ids.shape=\(0, 6\)"),
    ],
)
def test_what_cannot_be_masked(ids, options, message):
    with pytest.raises(ValueError, match=message):
        MaskedTexts(ids, **{"vocabulary_size": 10, **options})
