"""Tests of the scenes: captions and masks are checked against the pixels."""

import re
from collections import Counter

import numpy as np
import pytest

from keras_attention.datasets import shapes as module
from keras_attention.datasets.shapes import COLORS, COUNTS, PLURALS, RELATIONS, shapes

SINGULAR = {plural: shape for shape, plural in PLURALS.items()}
GROUP = rf"(a|two|three) ({'|'.join(COLORS)}) ({'|'.join([*PLURALS, *SINGULAR])})"
CAPTION = re.compile(rf"{GROUP}(?: ({'|'.join(RELATIONS)}) {GROUP})?")


@pytest.fixture(scope="module")
def scenes():
    return shapes(1500, seed=7)


def objects_in(mask):
    """Returns the pixels of each connected component as arrays of (row, column)."""
    left, parts = {(int(row), int(column)) for row, column in np.argwhere(mask)}, []
    while left:
        reached, part = [left.pop()], []
        while reached:
            row, column = reached.pop()
            part.append((row, column))
            neighbors = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= neighbors
            reached += neighbors
        parts.append(np.array(part))
    return parts


def shape_of(pixels):
    rows, columns = (pixels - pixels.min(axis=0)).T
    drawn = np.zeros((rows.max() + 1, columns.max() + 1), bool)
    drawn[rows, columns] = True
    if drawn.all():
        return "square"
    if not np.array_equal(drawn, drawn[::-1]):
        return "triangle"
    return "circle" if drawn.mean() > 0.7 else "cross"


def color_of(levels):
    return min(COLORS, key=lambda name: abs(levels - COLORS[name]).sum())


def true_relations(first, second):
    """Returns the relations that hold for all pixels of two masks, with the gap in pixels."""
    (top, left), (bottom, right) = np.argwhere(first).min(axis=0), np.argwhere(first).max(axis=0)
    there = np.argwhere(second)
    apart = {
        "above": there[:, 0].min() - bottom,
        "below": top - there[:, 0].max(),
        "left of": there[:, 1].min() - right,
        "right of": left - there[:, 1].max(),
    }
    return {name: pixels for name, pixels in apart.items() if pixels > 0}


def test_captions_match_the_pixels(scenes):
    for image, caption, words in scenes[:300]:
        groups = [
            CAPTION.fullmatch(caption).group(1, 2, 3),
            CAPTION.fullmatch(caption).group(5, 6, 7),
        ]
        groups = [group for group in groups if any(group)]
        assert len(words) == len(groups)
        for (count, color, noun), (index, mask, _) in zip(groups, words, strict=True):
            assert caption.split()[index] == noun
            objects = objects_in(mask)
            assert count == COUNTS[len(objects) - 1]
            assert noun in (SINGULAR if len(objects) > 1 else PLURALS)
            for pixels in objects:
                assert shape_of(pixels) == SINGULAR.get(noun, noun)
                levels = np.unique(image[*pixels.T], axis=0)
                assert len(levels) == 1 and color_of(levels[0].astype(int)) == color


def test_exactly_one_relation_holds(scenes):
    pairs = [scene for scene in scenes if len(scene.words) == 2]
    for _, caption, (first, second) in pairs:
        ((relation, pixels),) = true_relations(first.mask, second.mask).items()
        assert relation == CAPTION.fullmatch(caption)[4]
        assert pixels > 64 // 16


def test_order_of_the_groups(scenes):
    for _, caption, words in scenes:
        if len(words) == 2:
            sizes = [len(objects_in(word.mask)) for word in words]
            assert sizes == [2, 1] or CAPTION.fullmatch(caption)[4] in ("above", "left of")


def test_groups_differ_in_color_or_shape(scenes):
    for scene in scenes:
        kinds = [
            " ".join(group.split()[1:]) for group in re.split("|".join(RELATIONS), scene.caption)
        ]
        assert len(set(kinds)) == len(kinds)


def test_masks_cover_all_drawn_pixels(scenes):
    for image, _, words in scenes[:300]:
        masks = np.stack([word.mask for word in words])
        assert image.dtype == np.uint8 and image.shape == (64, 64, 3) and masks.dtype == bool
        assert masks.sum(axis=0).max() == 1  # no pixel is of two groups
        (canvas,) = np.unique(image[~masks.any(axis=0)], axis=0)
        assert len(set(canvas.tolist())) == 1  # grey
        assert (abs(image.astype(int) - canvas).max(axis=-1) > 0)[masks.any(axis=0)].all()
        assert not masks[:, [0, -1]].any() and not masks[:, :, [0, -1]].any()


def test_boxes_are_tight(scenes):
    for scene in scenes[:300]:
        for word in scene.words:
            boxes = [(*p.min(axis=0), *(p.max(axis=0) + 1)) for p in objects_in(word.mask)]
            np.testing.assert_array_equal(sorted(boxes), sorted(map(tuple, word.boxes)))


def test_objects_have_a_minimum_size(scenes):
    for scene in scenes[:300]:
        for word in scene.words:
            for pixels in objects_in(word.mask):
                height, width = np.ptp(pixels, axis=0) + 1
                assert height == width and 15 <= width <= 21


@pytest.mark.slow
def test_words_are_uniformly_distributed(scenes):
    n = len(scenes)
    layouts = Counter(tuple(len(objects_in(word.mask)) for word in scene.words) for scene in scenes)
    assert set(layouts) == set(module.LAYOUTS)
    groups = [group for s in scenes for group in re.findall(GROUP, s.caption)]
    colors = Counter(color for _, color, _ in groups)
    kinds = Counter(SINGULAR.get(noun, noun) for _, _, noun in groups)
    relations = {
        counts: Counter(
            CAPTION.fullmatch(s.caption)[4] for s in scenes if s.caption.startswith(counts)
        )
        for counts in ("a", "two")
    }
    one, two = n / 10, n / 20  # one and one has two relations, two and one has four
    expected = [
        (layouts, dict.fromkeys(module.LAYOUTS, n / 5)),
        (colors, dict.fromkeys(COLORS, len(groups) / 4)),
        (kinds, dict.fromkeys(PLURALS, len(groups) / 4)),
        (relations["a"], {None: n / 5, "above": one, "left of": one}),
        (relations["two"], {None: n / 5, **dict.fromkeys(RELATIONS, two)}),
    ]
    for counted, wanted in expected:
        assert counted.keys() == wanted.keys()
        for name, mean in wanted.items():
            assert abs(counted[name] - mean) < 4 * mean**0.5, name  # four standard deviations


def same(first, second):
    return all(
        a.caption == b.caption
        and np.array_equal(a.image, b.image)
        and [word.index for word in a.words] == [word.index for word in b.words]
        and all(np.array_equal(v.mask, w.mask) for v, w in zip(a.words, b.words, strict=True))
        for a, b in zip(first, second, strict=True)
    )


def test_scenes_depend_on_the_seed_only():
    assert same(shapes(30, seed=3), shapes(30, seed=3))
    assert not same(shapes(30, seed=3), shapes(30, seed=4))
    assert same(shapes(30, seed=3)[:10], shapes(10, seed=3))


def test_seeds_share_no_images(scenes):
    images = {scene.image.tobytes() for scene in scenes}
    assert len(images) == len(scenes)
    assert not images & {scene.image.tobytes() for scene in shapes(1500, seed=8)}


@pytest.mark.parametrize("size", [32, 100])
def test_image_sizes(size):
    for image, caption, words in shapes(60, image_size=size):
        assert image.shape == (size, size, 3)
        assert all(word.mask.shape == (size, size) for word in words)
        counts = [COUNTS[len(objects_in(word.mask)) - 1] for word in words]
        assert counts == [word for word in caption.split() if word in COUNTS]
        if len(words) == 2:
            (relation,) = true_relations(words[0].mask, words[1].mask)
            assert f" {relation} " in caption


def test_invalid_arguments():
    assert shapes(0) == []
    with pytest.raises(ValueError, match="`count` must be at least 0. Received: count=-1"):
        shapes(-1)
    with pytest.raises(ValueError, match="`image_size` must be .*Received: image_size=31"):
        shapes(1, image_size=31)


def test_package_exports_the_module():
    from keras_attention import datasets

    assert datasets.shapes is module
