"""Token masking compared with the proportions of BERT, and its batches."""

import keras
import numpy as np
import pytest

from keras_attention.ops.ids import UNKNOWN
from keras_attention.training import MaskedTexts, mask_tokens

VOCABULARY = 50
WIDE = np.random.default_rng(1).integers(4, VOCABULARY, (400, 250))  # 100,000 tokens
IDS = np.array([[7, 5, 6, 2, 0, 0], [1, 8, 3, 9, 4, 2], [2, 0, 0, 0, 0, 0]])


def test_proportions_are_those_of_the_paper():
    """15% selected; of these 80% masked, 10% replaced, 10% unchanged (section 3.1)."""
    inputs, labels = mask_tokens(WIDE, VOCABULARY, rng=np.random.default_rng(0))
    selected = labels > 0
    assert inputs.dtype == labels.dtype == "int32"
    np.testing.assert_array_equal(labels[selected], WIDE[selected])
    np.testing.assert_array_equal(inputs[~selected], WIDE[~selected])
    is_masked, is_unchanged = inputs[selected] == UNKNOWN, inputs[selected] == WIDE[selected]
    is_replaced = ~is_masked & ~is_unchanged
    # The tolerance is four standard deviations of the binomial distribution.
    assert abs(selected.mean() - 0.15) < 4 * (0.15 * 0.85 / WIDE.size) ** 0.5
    for outcome, p in (
        (is_masked, 0.8),
        (is_unchanged, 0.1 + 0.1 / 46),  # the random token may be the original one
        (is_replaced, 0.1 - 0.1 / 46),
    ):
        assert abs(outcome.mean() - p) < 4 * (p * (1 - p) / selected.sum()) ** 0.5
    # The random tokens are all but the special ones.
    assert np.unique(inputs[selected][is_replaced]).tolist() == list(range(4, VOCABULARY))


def test_special_ids_are_not_masked():
    inputs, labels = mask_tokens(IDS, 10, rate=1.0, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(labels, np.where(IDS >= 4, IDS, 0))
    np.testing.assert_array_equal(inputs[IDS < 4], IDS[IDS < 4])


def test_masks_depend_on_the_seed():
    first, second, other = (mask_tokens(WIDE, VOCABULARY, rng=rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first[1] != other[1]).any()
    assert (mask_tokens(WIDE, VOCABULARY)[1] != mask_tokens(WIDE, VOCABULARY)[1]).any()


def rng(seed):
    return np.random.default_rng(seed)


def texts_of(batches):
    """Returns the original ids of each batch."""
    pairs = [batches[i] for i in range(len(batches))]
    return [np.where(labels > 0, labels, inputs) for inputs, labels in pairs]


def test_each_epoch_has_every_row_once_in_a_new_order_and_mask():
    batches = MaskedTexts(WIDE[:10], VOCABULARY, batch_size=4)
    first, first_texts = [batches[i] for i in range(len(batches))], texts_of(batches)
    np.testing.assert_array_equal(batches[1], first[1])  # the same at every access
    batches.on_epoch_end()
    second_texts = texts_of(batches)
    assert sorted(len(texts) for texts in second_texts) == [2, 4, 4]
    for texts in (first_texts, second_texts):
        rows = sorted(map(tuple, np.concatenate(texts)))
        assert rows == sorted(map(tuple, WIDE[:10]))
    assert (np.concatenate(first_texts) != np.concatenate(second_texts)).any()

    again = MaskedTexts(WIDE[:10], VOCABULARY, batch_size=4)
    np.testing.assert_array_equal(again[0], first[0])
    other = texts_of(MaskedTexts(WIDE[:10], VOCABULARY, 4, seed=1))
    assert (np.concatenate(other) != np.concatenate(first_texts)).any()


def test_masks_change_between_epochs():
    """There is one row, so only its mask can change."""
    batches = MaskedTexts(WIDE[:1], VOCABULARY)
    before = batches[0][1]
    batches.on_epoch_end()
    assert ((batches[0][1] > 0) != (before > 0)).any()


def test_validation_masks_are_the_same_in_every_epoch():
    batches = MaskedTexts(WIDE[:6], VOCABULARY, batch_size=4, shuffle=False)
    before = batches[0]
    batches.on_epoch_end()
    np.testing.assert_array_equal(batches[0], before)
    np.testing.assert_array_equal(texts_of(batches)[0], WIDE[:4])


def test_fit_advances_the_epoch():
    accesses = []

    class RecordAccesses(MaskedTexts):
        def __getitem__(self, index):
            accesses.append((self.epoch, index))
            return super().__getitem__(index)

    model = keras.Sequential([keras.layers.Embedding(VOCABULARY, 4), keras.layers.Dense(5)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(ignore_class=0))
    model.fit(RecordAccesses(WIDE[:4] % 5, VOCABULARY, batch_size=2), epochs=2, verbose=0)
    # Keras may access a batch before the first epoch, or prefetch after the last.
    complete = [epoch for epoch in range(4) if {(epoch, 0), (epoch, 1)} <= set(accesses)]
    assert len(complete) >= 2


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
def test_invalid_arguments_raise(ids, options, message):
    with pytest.raises(ValueError, match=message):
        MaskedTexts(ids, **{"vocabulary_size": 10, **options})
