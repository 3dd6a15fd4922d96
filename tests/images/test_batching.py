import numpy as np
import pytest

from keras_attention.images import captioned_batches
from keras_attention.text import WordPieceTokenizer

CAPTIONS = ["a red circle", "two blue squares above a red circle", "a blue square"]
WORDS = WordPieceTokenizer.train(CAPTIONS, 60)
IMAGES = [np.full((4, 6, 3), value, "uint8") for value in (10, 20, 30)]
SIZE = (4, 6)


def rows(dataset):
    """Every row of a data set: the image's grey, the decoder's input, the labels."""
    return [
        (int(image[0, 0, 0]), target.tolist(), label.tolist())
        for inputs, labels in dataset
        for image, target, label in zip(inputs["source"], inputs["target"], labels, strict=True)
    ]


def test_every_caption_appears_once_with_its_image():
    examples = [(IMAGES[0], CAPTIONS[:2]), (IMAGES[1], [CAPTIONS[2]]), (IMAGES[2], CAPTIONS[0])]
    dataset = captioned_batches(examples, WORDS, SIZE, batch_size=3, shuffle=False)
    assert len(dataset) == 2
    inputs, labels = dataset[0]
    assert inputs["source"].shape == (3, 4, 6, 3) and inputs["source"].dtype == np.uint8
    assert inputs["target"].dtype == labels.dtype == np.int32
    captions = rows(dataset)
    assert [grey for grey, _, _ in captions] == [10, 10, 20, 30]
    texts = [*CAPTIONS, CAPTIONS[0]]
    for text, (_, target, label) in zip(texts, captions, strict=True):
        ids = [int(id) for id in WORDS.encode_ragged([text], 40)[0].numpy()]  # [END] is the last
        padding = [0] * (len(label) - len(ids))
        assert label == ids + padding
        assert target == [1, *ids[:-1]] + padding
    assert max(sum(id > 0 for id in label) for _, _, label in captions) == len(captions[0][2])


def test_order_changes_per_epoch_and_is_reproducible():
    examples = [(np.full((4, 6, 3), i, "uint8"), "a red circle") for i in range(20)]

    def epochs(seed):
        dataset = captioned_batches(examples, WORDS, SIZE, batch_size=8, seed=seed)
        return [[grey for grey, _, _ in rows(dataset)] for dataset.epoch in range(2)]

    first, second = epochs(1)
    assert sorted(first) == sorted(second) == list(range(20)) and first != second
    assert epochs(1) == [first, second] and epochs(2) != [first, second]


def test_long_captions_are_truncated_with_a_warning():
    with pytest.warns(UserWarning, match="1 of 1 .* more than 2 tokens"):
        dataset = captioned_batches([(IMAGES[0], CAPTIONS[1])], WORDS, SIZE, max_length=3)
    assert len(rows(dataset)[0][2]) == 3


@pytest.mark.parametrize(
    "examples, options, message",
    [
        ([], {}, "`examples` must not be empty"),
        ([(IMAGES[0], [])], {}, "must have a caption. Received: no caption of an image without"),
        ([("there.jpg", [])], {}, "must have a caption. Received: no caption of 'there.jpg'"),
        ([("nowhere.jpg", "a")], {}, "an existing file. Received: image='nowhere.jpg'"),
        ([(IMAGES[0], "a")], {"batch_size": 0}, "Received: batch_size=0, max_length=40"),
    ],
)
def test_invalid_examples(examples, options, message):
    with pytest.raises(ValueError, match=message):
        captioned_batches(examples, WORDS, SIZE, **options)
