"""Alignment heatmap: which source tokens each target token was written from."""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from keras_attention.viz.fonts import families

CELL = 0.32  # inches, for a token that reads well
LARGEST = 60.0  # inches; beyond it the cells shrink


def alignment(
    weights: Any,
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
    title: str | None = None,
) -> Figure:
    """Draws attention weights as figure 3 of Bahdanau et al. (2015) does.

    Source tokens run along the top, target tokens down the left, and each cell is the weight
    of that source token while that target token was written: 0 is black, 1 is white. A token of
    white space is drawn as `␣`. Scripts written from right to left keep the order of the tokens,
    first token at the left; the letters inside each token run their own way.

    Args:
        weights: (T, S) attention weights, an array or a tensor of any backend.
        source_tokens: the S source tokens.
        target_tokens: the T target tokens.
        title: a line above the picture.

    Returns:
        A matplotlib `Figure` that belongs to no window; notebooks show it, `save` writes it.

    Raises:
        ValueError: if the weights are not (T, S) for those tokens, there are no tokens on one
            side, or a weight is not between 0 and 1.

    References:
        - Bahdanau et al., 2015, https://arxiv.org/abs/1409.0473 (figure 3)

    Example:

    >>> figure = alignment([[0.9, 0.1], [0.2, 0.8]], ["ein", "Haus"], ["a", "house"])
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['ein', 'Haus']
    """
    weights = np.asarray(ops.convert_to_numpy(weights), dtype="float32")  # (T, S)
    source, target = [visible(t) for t in source_tokens], [visible(t) for t in target_tokens]
    check(weights, (len(target), len(source)), "target tokens, source tokens")

    cell = min(CELL, LARGEST / max(weights.shape))  # inches
    size = cell * 72 * 0.55  # points
    width = cell * len(source) + _inches(target, size) + 0.9
    height = cell * len(target) + _inches(source, size) + 0.6
    figure = Figure(figsize=(width, height), layout="compressed")
    font = {"family": families([*source, *target, title or ""]), "parse_math": False}

    axes = figure.subplots()
    image = axes.imshow(weights, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=size)
    axes.set_xticks(range(len(source)), source, **font)
    axes.set_yticks(range(len(target)), target, **font)
    for label in axes.get_xticklabels():
        label.set_rotation(0 if len(label.get_text()) == 1 else 90)
    if title:
        axes.set_title(title, fontsize=1.1 * size, pad=0.8 * size, **font)
    _scale(axes, image, cell * len(source), cell * len(target))
    return figure


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a figure; the file appears whole or not at all.

    Args:
        figure: what `alignment` gave, or any figure of matplotlib.
        path: where to; its ending (`.png`, `.svg`, `.pdf`) names the format. Folders are made.

    Raises:
        ValueError: if the ending names no format that matplotlib writes.
    """
    with unfinished(path, figure.canvas.get_supported_filetypes()) as file:
        figure.savefig(file, dpi=150, bbox_inches="tight")


@contextmanager
def unfinished(path: str | os.PathLike, formats: Iterable[str]) -> Iterator[Path]:
    """A file to draw into, that takes its own name when all is drawn.

    Args:
        path: the name; folders are made.
        formats: the endings, without the dot, that it may have.

    Yields:
        The file to write.

    Raises:
        ValueError: if the path has another ending.
    """
    path = Path(path)
    if path.suffix[1:].lower() not in formats:
        raise ValueError(f"Expected a path that ends in one of {sorted(formats)}. Received: {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # `families` named them all
            yield file
        os.replace(file, path)
    finally:
        file.unlink(missing_ok=True)


def _scale(axes: Axes, image: AxesImage, width: float, height: float) -> None:
    """Beside axes of that size in inches, what grey means: a bar of at most two inches."""
    tall = min(1.0, 2 / height)
    bar = axes.inset_axes((1 + 0.2 / width, 1 - tall, 0.12 / width, tall))
    axes.figure.colorbar(image, cax=bar, ticks=[0, 1], format="%d", label="weight")


def visible(token: str) -> str:
    """The token as it is drawn: `␣` for white space."""
    if token.strip() and token.isprintable():
        return token
    return "".join("␣" if letter.isspace() else letter for letter in token)


def _inches(tokens: list[str], size: float) -> float:
    # 0.6 of the size is an average letter's width.
    return max(map(len, tokens)) * 0.6 * size / 72


def check(weights: np.ndarray, expected: tuple[int, ...], axes: str) -> None:
    """Raises ValueError unless the weights are of that shape and each is between 0 and 1."""
    if weights.shape != expected or not weights.size:
        raise ValueError(
            f"Expected weights of shape ({axes}), at least one of each: {expected}. "
            f"Received: weights of shape {weights.shape}"
        )
    low, high = weights.min(), weights.max()
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # a NaN fails too; half precision rounds past 1
        raise ValueError(
            "Expected weights between 0 and 1 (energies need a softmax first). "
            f"Received: weights from {low} to {high}"
        )
