"""Colored shapes on a canvas with captions that say what is there: a set that needs no download.

A scene has one to three objects in one group or two. The objects of a group share color and
shape; two groups differ in color, shape or both. A scene has one caption:

    caption  = group | group relation group
    group    = ("a" | "two" | "three") color shape
    relation = "above" | "below" | "left of" | "right of"

* the larger group comes first; of one object and one object, the upper or the left one;
* a relation holds for every object of both groups, with a gap between them, and is the only one
  of the four that does: the groups overlap in the other direction.
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
LAYOUTS = ((1,), (2,), (3,), (1, 1), (2, 1))  # objects of each group
KINDS = [(color, shape) for color in COLORS for shape in PLURALS]
SMALLEST = 32  # pixels; on a smaller canvas a circle is hardly round


class Word(NamedTuple):
    """A noun of a caption and where its objects are.

    Attributes:
        index: the noun's place in `caption.split()`.
        mask: (S, S) bool, True on the pixels of every object that the noun names.
        boxes: (objects, 4), the box around each of them: its first row and column, and the row and
            column behind its last.
    """

    index: int
    mask: np.ndarray
    boxes: np.ndarray


class Scene(NamedTuple):
    """An image, its caption and where the objects of each noun are.

    Attributes:
        image: (S, S, 3) uint8.
        caption: words between single spaces, in small letters.
        words: one `Word` for each noun, in the order of the caption.
    """

    image: np.ndarray
    caption: str
    words: list[Word]


class _Object(NamedTuple):
    """Something that fills columns x - half to x + half and rows y - half to y + half."""

    x: int
    y: int
    half: int


def shapes(count: int, seed: int = 0, image_size: int = 64) -> list[Scene]:
    """Scenes of colored shapes, each with its caption.

    The five layouts (one, two or three alike; one and one; two and one) are drawn evenly, and so
    are colors and shapes. Sizes, places and the grey of the canvas vary, the color of each object
    a little. Objects never touch.

    Args:
        count: number of scenes.
        seed: the same seed gives the same scenes, and a larger count begins with them.
        image_size: S, the side of an image in pixels, at least 32.

    Returns:
        A list of `Scene`.

    Raises:
        ValueError: if `count` is negative or `image_size` below 32.

    Example:

    >>> scene = shapes(6, seed=1)[5]
    >>> scene.caption
    'two green crosses below a blue triangle'
    >>> [(word.index, word.mask.shape) for word in scene.words]
    [(2, (64, 64)), (6, (64, 64))]
    """
    if count < 0:
        raise ValueError(f"count: expected at least 0. Received: count={count}")
    if image_size < SMALLEST:
        raise ValueError(
            f"image_size: expected at least {SMALLEST}. Received: image_size={image_size}"
        )
    draw = random.Random(seed)
    return [_scene(draw, image_size) for _ in range(count)]


def _scene(draw: random.Random, size: int) -> Scene:
    counts = draw.choice(LAYOUTS)
    kinds = draw.sample(KINDS, len(counts))
    groups, relation = _place(draw, size, counts)

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
    # A noun ends its phrase, and a phrase has three words.
    indices = (2, len(caption.split()) - 1)[: len(masks)]
    words = [Word(*each) for each in zip(indices, masks, boxes, strict=True)]
    return Scene(image, caption, words)


def _place(
    draw: random.Random, size: int, counts: tuple[int, ...]
) -> tuple[list[list[_Object]], str | None]:
    """Places groups anew until nothing touches and, of two groups, one relation is plain."""
    # One and one: which of them is named first follows from the place.
    allowed = RELATIONS[:2] if counts == (1, 1) else RELATIONS
    while True:
        groups = [[_object(draw, size) for _ in range(count)] for count in counts]
        if not _apart([item for group in groups for item in group], gap=size // 32):
            continue
        if len(groups) == 1:
            return groups, None
        relation = _relation(*groups, gap=size // 16)
        if relation in allowed:
            return groups, relation


def _object(draw: random.Random, size: int) -> _Object:
    half = draw.randint(size // 9, size // 6)
    last = size - 2 - half  # one pixel of canvas stays around it
    return _Object(draw.randint(half + 1, last), draw.randint(half + 1, last), half)


def _apart(items: list[_Object], gap: int) -> bool:
    return all(
        max(abs(a.x - b.x), abs(a.y - b.y)) > a.half + b.half + gap
        for i, a in enumerate(items)
        for b in items[:i]
    )


def _relation(first: list[_Object], second: list[_Object], gap: int) -> str | None:
    """The one relation of the first group to the second, `None` where none is plain."""
    (left, right), (top, bottom) = _extent(first)
    (other_left, other_right), (other_top, other_bottom) = _extent(second)
    # How many pixels the groups are apart in each direction; below 0 they overlap.
    apart = {
        "above": other_top - bottom,
        "left of": other_left - right,
        "below": top - other_bottom,
        "right of": left - other_right,
    }
    relation = max(apart, key=apart.get)
    if apart[relation] <= gap:
        return None
    across = ("left of", "right of") if relation in ("above", "below") else ("above", "below")
    return relation if max(apart[name] for name in across) < -gap else None


def _extent(group: list[_Object]) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last column, first and last row."""
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
