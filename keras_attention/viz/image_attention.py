"""Attention weights drawn over an image, one panel or animation frame per word of a caption."""

import os
import textwrap
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from keras_attention.utils.validation import check_texts
from keras_attention.viz.alignment import atomic_figure_file, check_weights, display_token
from keras_attention.viz.fonts import font_families

PANEL_WIDTH = 1.6  # inches
MAX_COLUMNS = 6
MIN_PIXELS = 256  # smaller images are enlarged, so that the weights are drawn smoothly
OPACITY = 0.6  # of the weights over the image
LINE_LENGTH = 36  # characters per line of the caption in an animation


def plot_image_attention(image: Any, words: Sequence[str], weights: Any) -> Figure:
    """Plots attention weights over an image (Xu et al., 2015, figure 3).

    The first panel is the image; one panel per word follows, in which the weights, upsampled by
    bicubic interpolation, lie over the image: white where the weight is largest, black where it is
    0. Each panel has its own scale, with the largest weight below it.

    Args:
        image: Image (H, W, 3), integers from 0 to 255 or floats from 0 to 1.
        words: The T words.
        weights: Attention weights (T, rows, columns) of the cells of the image, an array or a
            tensor of any backend.

    Returns:
        A matplotlib `Figure` without a window: notebooks display it, `save_figure` writes it.

    Raises:
        ValueError: If the image is not (H, W, 3) or has other values, there are no words, the
            shape of the weights is not (T, rows, columns), or a weight is not between 0 and 1.

    References:
        - Xu et al., 2015, https://arxiv.org/abs/1502.03044 (figures 2 and 3)

    Example:

    >>> image = np.zeros((64, 64, 3), "uint8")
    >>> weights = [[[0.25] * 2] * 2, [[0.7, 0.1], [0.1, 0.1]]]
    >>> figure = plot_image_attention(image, ["a", "circle"], weights)
    >>> [(axes.get_title(), axes.get_xlabel()) for axes in figure.axes]
    [('', 'largest weight:'), ('a', '0.25'), ('circle', '0.70')]
    """
    image, words, grids = _validated(image, words, weights)
    columns = min(MAX_COLUMNS, len(words) + 1)
    rows = -(-(len(words) + 1) // columns)
    height = PANEL_WIDTH * image.shape[0] / image.shape[1]
    figure = Figure(
        figsize=(columns * (PANEL_WIDTH + 0.1), rows * (height + 0.5)), layout="compressed"
    )
    font: dict[str, Any] = {"family": font_families(words), "parse_math": False}
    for i in range(len(words) + 1):
        axes = figure.add_subplot(rows, columns, i + 1)
        _show_image(axes, _blend(image, grids[i - 1]) if i else image)
        word = words[i - 1] if i else ""
        axes.set_title(word, fontsize=11 * min(1, 17 / max(len(word), 1)), pad=4, **font)
        label = f"{grids[i - 1].max():.2f}" if i else "largest weight:"
        axes.set_xlabel(label, fontsize=8, labelpad=3, color="0.4")
    return figure


def animate_image_attention(
    image: Any,
    words: Sequence[str],
    weights: Any,
    path: str | os.PathLike,
    seconds: float = 0.7,
) -> None:
    """Writes an animated GIF in which the caption grows word by word over the attention weights.

    The first frame is the image alone, and the animation repeats. The file is written atomically.

    Args:
        image: Image (H, W, 3), integers from 0 to 255 or floats from 0 to 1.
        words: The T words.
        weights: Attention weights (T, rows, columns), as in `plot_image_attention`.
        path: Path of the file, ending in `.gif`. Missing folders are created.
        seconds: Duration of each word in seconds.

    Raises:
        ValueError: If `path` does not end in `.gif`, `seconds` is not positive, or the other
            arguments are invalid (see `plot_image_attention`).
    """
    if not seconds > 0:
        raise ValueError(f"`seconds` must be positive. Received: seconds={seconds}")
    image, words, grids = _validated(image, words, weights)
    lines = len(textwrap.wrap(" ".join(words), LINE_LENGTH))
    height = 3 * image.shape[0] / image.shape[1]
    top = 0.22 * lines + 0.1  # inches; room for the whole caption, so that the image does not move
    figure = Figure(figsize=(3, height + top))
    axes = figure.add_axes((0, 0, 1, height / (height + top)))
    font: dict[str, Any] = {"family": font_families(words), "parse_math": False}
    text = figure.text(0.02, 1 - 0.06 / (height + top), "", va="top", fontsize=10, **font)
    frame = _show_image(axes, image)
    with atomic_figure_file(path, ["gif"]) as file:
        writer = PillowWriter(fps=1 / seconds)  # type: ignore[arg-type]  # floats work
        with writer.saving(figure, file, dpi=100):
            writer.grab_frame()
            for i, grid in enumerate(grids, start=1):
                frame.set_data(_blend(image, grid))
                text.set_text(textwrap.fill(" ".join(words[:i]), LINE_LENGTH))
                writer.grab_frame()


def _blend(image: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Blends an image (H, W, 3) with weights (rows, columns), both from 0 to 1."""
    size = image.shape[1], image.shape[0]
    smooth = np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC))  # (H, W)
    light = np.clip(smooth / max(grid.max(), 1e-9), 0, 1)  # bicubic interpolation overshoots
    return (1 - OPACITY) * image + OPACITY * light[:, :, None]


def _show_image(axes: Axes, image: np.ndarray) -> Any:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return axes.imshow(image, interpolation="nearest")


def _validated(
    image: Any, words: Sequence[str], weights: Any
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Returns the image (H, W, 3) from 0 to 1, the words and the weights (T, rows, columns).

    Raises:
        ValueError: If the arguments are invalid (see `plot_image_attention`).
    """
    check_texts("words", words)
    image = ops.convert_to_numpy(image)
    is_float = keras.backend.is_float_dtype(str(image.dtype))
    image = image.astype("float32")
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(
            f"`image` must have shape (height, width, 3). Received: image.shape={image.shape}"
        )
    low, high = image.min(), image.max()
    if not (low >= 0 and high <= (1 if is_float else 255)):  # also rejects NaN
        raise ValueError(
            "`image` must have integers from 0 to 255 or floats from 0 to 1. "
            f"Received: {'float' if is_float else 'integer'} values from {low} to {high}"
        )
    weights = np.asarray(ops.convert_to_numpy(weights), dtype="float32")  # (T, rows, columns)
    grid = weights.shape[1:] if weights.ndim == 3 else (1, 1)
    check_weights(weights, (len(words), *grid), "words, rows, columns")
    words = [display_token(word) for word in words]
    times = -(-MIN_PIXELS // max(image.shape[:2]))
    image = image.repeat(times, axis=0).repeat(times, axis=1)
    return image if is_float else image / 255, words, weights
