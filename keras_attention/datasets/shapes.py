"""Images of colored shapes with captions: a small generated data set.

A scene contains one or two groups, of one to three objects in all. The objects of a group share
color and shape; two groups differ in color, shape or both. Each scene has one caption:

    caption  = group | group relation group
    group    = ("a" | "two" | "three") color shape
    relation = "above" | "below" | "left of" | "right of"

* the larger group is named first; of two single objects, the upper or left one;
* the relation holds for all objects of both groups, with a gap between the groups, and is the only
  one of the four that holds: the groups overlap in the other direction.
"""

import random
from typing import NamedTuple

import numpy as np

COLORS = {
    "red": (215, 45, 45),
    "green": (45, 170, 65),
    "blue": (55, 85, 215),
    "yellow": (225, 205, 50),
}
PLURALS = {
    "circle": "circles",
    "square": "squares",
    "triangle": "triangles",
    "cross": "crosses",
}
COUNTS = ("a", "two", "three")
RELATIONS = ("above", "left of", "below", "right of")
LAYOUTS = ((1,), (2,), (3,), (1, 1), (2, 1))  # number of objects per group
KINDS = [(color, shape) for color in COLORS for shape in PLURALS]
MIN_IMAGE_SIZE = 32  # pixels; circles are not round on a smaller canvas


class Word(NamedTuple):
    """A noun of a caption and the pixels of its objects.

    Attributes:
        index: Index of the noun in `caption.split()`.
        mask: Boolean array (S, S), True on the pixels of the objects that the noun names.
        boxes: Bounding box of each object, (objects, 4): first row and column, and the row and
            column after the last.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    mask: np.ndarray
    boxes: np.ndarray


class Scene(NamedTuple):
    """An image, its caption and the location of the objects of each noun.

    Attributes:
        image: uint8 array (S, S, 3).
        caption: Lower-case words separated by single spaces.
        words: One `Word` per noun, in the order of the caption.
    """

    image: np.ndarray
    caption: str
    words: list[Word]


class _Object(NamedTuple):
    """An object that fills columns x - half to x + half and rows y - half to y + half."""

    x: int
    y: int
    half: int


def shapes(count: int, seed: int = 0, image_size: int = 64) -> list[Scene]:
    """Generates scenes of colored shapes with captions.

    The five layouts (one, two or three equal objects; one and one; two and one), colors and shapes
    are drawn uniformly. Sizes, positions and the gray level of the canvas vary, as does the color
    of each object slightly. Objects never touch.

    Args:
        count: Number of scenes.
        seed: Random seed. The first scenes do not depend on `count`.
        image_size: S, height and width of the images in pixels, at least 32.

    Returns:
        List of `Scene`s.

    Raises:
        ValueError: If `count` is negative or `image_size` is below 32.

    Example:

    >>> scene = shapes(6, seed=1)[5]
    >>> scene.caption
    'two green crosses below a blue triangle'
    >>> [(word.index, word.mask.shape) for word in scene.words]
    [(2, (64, 64)), (6, (64, 64))]
    """
    if count < 0:
        raise ValueError(f"`count` must be at least 0. Received: count={count}")
    if image_size < MIN_IMAGE_SIZE:
        raise ValueError(
            f"`image_size` must be at least {MIN_IMAGE_SIZE}. Received: image_size={image_size}"
        )
    draw = random.Random(seed)
    return [_scene(draw, image_size) for _ in range(count)]


def _scene(draw: random.Random, size: int) -> Scene:
    counts = draw.choice(LAYOUTS)
    kinds = draw.sample(KINDS, len(counts))
    groups, relation = _place_groups(draw, size, counts)

    image = np.full((size, size, 3), draw.randint(10, 100), "uint8")
    phrases, masks, boxes = [], [], []
    for group, (color, shape) in zip(groups, kinds, strict=True):
        mask = np.zeros((size, size), bool)
        for item in group:
            pixels = _pixels(item, shape, size)
            image[pixels] = [level + draw.randint(-25, 25) for level in COLORS[color]]
            mask |= pixels
        noun = shape if len(group) == 1 else PLURALS[shape]
        phrases.append(f"{COUNTS[len(group) - 1]} {color} {noun}")
        masks.append(mask)
        boxes.append(np.array([_box(item) for item in group]))

    caption = f" {relation} ".join(phrases)
    # Each phrase has three words, the noun last.
    indices = (2, len(caption.split()) - 1)[: len(masks)]
    words = [Word(*each) for each in zip(indices, masks, boxes, strict=True)]
    return Scene(image, caption, words)


def _place_groups(
    draw: random.Random, size: int, counts: tuple[int, ...]
) -> tuple[list[list[_Object]], str | None]:
    """Draws positions until no objects touch and two groups have an unambiguous relation."""
    # Of two single objects, the upper or left one is named first.
    allowed = RELATIONS[:2] if counts == (1, 1) else RELATIONS
    while True:
        groups = [[_object(draw, size) for _ in range(count)] for count in counts]
        if not _apart([item for group in groups for item in group], gap=size // 32):
            continue
        if len(groups) == 1:
            return groups, None
        first, second = groups
        relation = _relation(first, second, gap=size // 16)
        if relation in allowed:
            return groups, relation


def _object(draw: random.Random, size: int) -> _Object:
    half = draw.randint(size // 9, size // 6)
    last = size - 2 - half  # leaves a border of one pixel
    return _Object(draw.randint(half + 1, last), draw.randint(half + 1, last), half)


def _apart(items: list[_Object], gap: int) -> bool:
    return all(
        max(abs(a.x - b.x), abs(a.y - b.y)) > a.half + b.half + gap
        for i, a in enumerate(items)
        for b in items[:i]
    )


def _relation(first: list[_Object], second: list[_Object], gap: int) -> str | None:
    """Returns the only relation of the first group to the second, or None if it is ambiguous."""
    (left, right), (top, bottom) = _extent(first)
    (other_left, other_right), (other_top, other_bottom) = _extent(second)
    # Gap in pixels in each direction; negative if the groups overlap.
    apart = {
        "above": other_top - bottom,
        "left of": other_left - right,
        "below": top - other_bottom,
        "right of": left - other_right,
    }
    relation = max(apart, key=apart.__getitem__)
    if apart[relation] <= gap:
        return None
    across = ("left of", "right of") if relation in ("above", "below") else ("above", "below")
    return relation if max(apart[name] for name in across) < -gap else None


def _extent(group: list[_Object]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns the first and last column and the first and last row."""
    columns = [item.x + side * item.half for item in group for side in (-1, 1)]
    rows = [item.y + side * item.half for item in group for side in (-1, 1)]
    return (min(columns), max(columns)), (min(rows), max(rows))


def _box(item: _Object) -> tuple[int, int, int, int]:
    x, y, half = item
    return y - half, x - half, y + half + 1, x + half + 1


def _pixels(item: _Object, shape: str, size: int) -> np.ndarray:
    rows, columns = np.ogrid[:size, :size]
    x, y, half = columns - item.x, rows - item.y, item.half
    box = (abs(x) <= half) & (abs(y) <= half)
    inside = {
        "circle": lambda: x**2 + y**2 <= half * (half + 1),
        "square": lambda: box,
        "triangle": lambda: 2 * abs(x) <= y + half,
        "cross": lambda: 3 * np.minimum(abs(x), abs(y)) <= half,
    }
    return box & inside[shape]()  # (S, S)
