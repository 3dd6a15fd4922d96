"""Attention over an image: where the model looked while it wrote each word of a caption."""

import os
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from keras_attention.viz.alignment import check, unfinished, visible
from keras_attention.viz.fonts import families

PANEL = 1.6  # inches
COLUMNS = 6
SHARP = 256  # pixels; a smaller image is enlarged, for the weights to be smooth over it
VEIL = 0.6  # how much of the image the picture of the weights hides
LETTERS = 36  # of a caption's line in an animation


def overlay(image: Any, words: Sequence[str], weights: Any) -> Figure:
    """Draws attention weights over the image as figure 3 of Xu et al. (2015) does.

    The first panel is the image, and one follows for each word. In it the image is veiled: white
    where the word's weight is largest, black where it is 0, the weights upsampled smoothly
    (bicubic). Each panel has its own scale, whose largest weight is written below it.

    Args:
        image: (H, W, 3), values from 0 to 255.
        words: the T words.
        weights: (T, rows, columns) attention weights of the cells over the image; an array or a
            tensor of any backend.

    Returns:
        A matplotlib `Figure` that belongs to no window; notebooks show it, `save` writes it.

    Raises:
        ValueError: if the image is not (H, W, 3) with values from 0 to 255, there is no word, the
            weights are not (T, rows, columns) for those words, or a weight is not between 0
            and 1.

    References:
        - Xu et al., 2015, https://arxiv.org/abs/1502.03044 (figures 2 and 3)

    Example:

    >>> image = np.zeros((64, 64, 3), "uint8")
    >>> figure = overlay(image, ["a", "circle"], [[[0.25] * 2] * 2, [[0.7, 0.1], [0.1, 0.1]]])
    >>> [(axes.get_title(), axes.get_xlabel()) for axes in figure.axes]
    [('', 'largest weight:'), ('a', '0.25'), ('circle', '0.70')]
    """
    image, words, grids = _checked(image, words, weights)
    columns = min(COLUMNS, len(words) + 1)
    rows = -(-(len(words) + 1) // columns)
    height = PANEL * image.shape[0] / image.shape[1]
    figure = Figure(figsize=(columns * (PANEL + 0.1), rows * (height + 0.5)), layout="compressed")
    font = {"family": families(words), "parse_math": False}
    for i in range(len(words) + 1):
        axes = figure.add_subplot(rows, columns, i + 1)
        _show(axes, _veiled(image, grids[i - 1]) if i else image)
        word = words[i - 1] if i else ""
        axes.set_title(word, fontsize=11 * min(1, 17 / max(len(word), 1)), pad=4, **font)
        below = f"{grids[i - 1].max():.2f}" if i else "largest weight:"
        axes.set_xlabel(below, fontsize=8, labelpad=3, color="0.4")
    return figure


def animation(
    image: Any,
    words: Sequence[str],
    weights: Any,
    path: str | os.PathLike,
    seconds: float = 0.7,
) -> None:
    """Writes a GIF in which the caption grows word by word and each word shows its `overlay`.

    It begins with the image alone and repeats. The file appears whole or not at all.

    Args:
        image: (H, W, 3), values from 0 to 255.
        words: the T words.
        weights: (T, rows, columns) attention weights, as in `overlay`.
        path: where to; it ends in `.gif`. Folders are made.
        seconds: how long each word stays.

    Raises:
        ValueError: as `overlay`, if the path ends in anything else, or `seconds` is not above 0.
    """
    if not seconds > 0:
        raise ValueError(f"seconds: expected more than 0. Received: seconds={seconds}")
    image, words, grids = _checked(image, words, weights)
    lines = len(textwrap.wrap(" ".join(words), LETTERS))
    height = 3 * image.shape[0] / image.shape[1]
    top = 0.22 * lines + 0.1  # inches, for the whole caption, so that nothing moves as it grows
    figure = Figure(figsize=(3, height + top))
    axes = figure.add_axes((0, 0, 1, height / (height + top)))
    font = {"family": families(words), "parse_math": False}
    text = figure.text(0.02, 1 - 0.06 / (height + top), "", va="top", fontsize=10, **font)
    shown = _show(axes, image)
    with unfinished(path, ["gif"]) as file:
        writer = PillowWriter(fps=1 / seconds)
        with writer.saving(figure, file, dpi=100):
            writer.grab_frame()
            for i, grid in enumerate(grids, start=1):
                shown.set_data(_veiled(image, grid))
                text.set_text(textwrap.fill(" ".join(words[:i]), LETTERS))
                writer.grab_frame()


def _veiled(image: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) under its weights (rows, columns), both from 0 to 1."""
    size = image.shape[1], image.shape[0]
    smooth = np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC))  # (H, W)
    light = np.clip(smooth / max(grid.max(), 1e-9), 0, 1)  # a cubic swings past its points
    return (1 - VEIL) * image + VEIL * light[:, :, None]


def _show(axes: Axes, image: np.ndarray) -> Any:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return axes.imshow(image, interpolation="nearest")


def _checked(
    image: Any, words: Sequence[str], weights: Any
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """The image (H, W, 3) from 0 to 1, the words as drawn, the weights (T, rows, columns)."""
    image = np.asarray(ops.convert_to_numpy(image), dtype="float32")
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(
            f"Expected an image of shape (height, width, 3). Received: shape {image.shape}"
        )
    low, high = image.min(), image.max()
    if not (low >= 0 and high <= 255):  # a NaN fails too
        raise ValueError(f"Expected an image from 0 to 255. Received: from {low} to {high}")
    weights = np.asarray(ops.convert_to_numpy(weights), dtype="float32")  # (T, rows, columns)
    grid = weights.shape[1:] if weights.ndim == 3 else (1, 1)
    check(weights, (len(words), *grid), "words, rows, columns")
    words = [visible(word) for word in words]
    times = -(-SHARP // max(image.shape[:2]))
    image = image.repeat(times, axis=0).repeat(times, axis=1)
    return image / 255, words, weights
