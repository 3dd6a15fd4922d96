"""Heatmap of the attention weights between source and target tokens."""

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

from keras_attention.utils.validation import check_texts
from keras_attention.viz.fonts import font_families

CELL_SIZE = 0.32  # inches, for legible tokens
MAX_SIZE = 60.0  # inches; larger figures get smaller cells
SENTENCEPIECE_SPACE, WORDPIECE_CONTINUATION = "▁", "##"


def plot_alignment(
    weights: Any,
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
    title: str | None = None,
) -> Figure:
    """Plots attention weights as a heatmap (Bahdanau et al., 2015, figure 3).

    Source tokens are on the top axis, target tokens on the left axis. Each cell is the weight of
    the source token when the target token was generated, from 0 (black) to 1 (white). Markers of
    subword tokenizers are not shown ("▁house" is drawn as "house"); white space is drawn as `␣`.
    Tokens of right-to-left scripts are drawn from left to right, with their letters in the
    direction of the script.

    Args:
        weights: Attention weights (T, S), an array or a tensor of any backend.
        source_tokens: The S source tokens.
        target_tokens: The T target tokens.
        title: Title of the figure.

    Returns:
        A matplotlib `Figure` without a window: notebooks display it, `save_figure` writes it.

    Raises:
        ValueError: If the shape of the weights is not (T, S), there are no tokens on one side, or a
            weight is not between 0 and 1.

    References:
        - Bahdanau et al., 2015, https://arxiv.org/abs/1409.0473 (figure 3)

    Example:

    >>> figure = plot_alignment([[0.9, 0.1], [0.2, 0.8]], ["ein", "Haus"], ["a", "house"])
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['ein', 'Haus']
    """
    check_texts("source_tokens", source_tokens)
    check_texts("target_tokens", target_tokens)
    weights = np.asarray(ops.convert_to_numpy(weights), dtype="float32")  # (T, S)
    source, target = (
        [display_token(t) for t in source_tokens],
        [display_token(t) for t in target_tokens],
    )
    check_weights(weights, (len(target), len(source)), "target tokens, source tokens")

    cell = min(CELL_SIZE, MAX_SIZE / max(weights.shape))  # inches
    size = cell * 72 * 0.55  # points
    width = cell * len(source) + _text_width(target, size) + 0.9
    height = cell * len(target) + _text_width(source, size) + 0.6
    figure = Figure(figsize=(width, height), layout="compressed")
    font: dict[str, Any] = {
        "family": font_families([*source, *target, title or ""]),
        "parse_math": False,
    }

    axes = figure.subplots()
    image = axes.imshow(weights, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=size)
    axes.set_xticks(range(len(source)), source, **font)
    axes.set_yticks(range(len(target)), target, **font)
    for label in axes.get_xticklabels():
        label.set_rotation(0 if len(label.get_text()) == 1 else 90)
    if title:
        title = display_token(title)
        axes.set_title(title, fontsize=1.1 * size, pad=0.8 * size, **font)
    _add_color_bar(axes, image, cell * len(source), cell * len(target))
    return figure


def save_figure(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a figure to a file, atomically.

    Args:
        figure: Any matplotlib figure.
        path: Path of the file. Its suffix (`.png`, `.svg`, `.pdf`) selects the format. Missing
            folders are created.

    Raises:
        ValueError: If matplotlib does not support the suffix.
    """
    with atomic_figure_file(path, figure.canvas.get_supported_filetypes()) as file:
        figure.savefig(file, dpi=150, bbox_inches="tight")


@contextmanager
def atomic_figure_file(path: str | os.PathLike, formats: Iterable[str]) -> Iterator[Path]:
    """Yields a temporary path and renames it to `path` on success.

    Args:
        path: Path of the file. Missing folders are created.
        formats: Supported suffixes, without the dot.

    Yields:
        The temporary path to write to.

    Raises:
        ValueError: If the suffix is not supported.
    """
    path = Path(path)
    if path.suffix[1:].lower() not in formats:
        raise ValueError(f"`path` must end in one of {sorted(formats)}. Received: path={path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # already reported
            yield file
        os.replace(file, path)
    finally:
        file.unlink(missing_ok=True)


def _add_color_bar(axes: Axes, image: AxesImage, width: float, height: float) -> None:
    """Adds a color bar of at most two inches to axes of this size in inches."""
    bar_height = min(1.0, 2 / height)  # relative to the axes
    bar = axes.inset_axes((1 + 0.2 / width, 1 - bar_height, 0.12 / width, bar_height))
    axes.figure.colorbar(image, cax=bar, ticks=[0, 1], format="%d", label="weight")


def display_token(token: str) -> str:
    """Returns a token as it is drawn: without subword markers, and with `␣` for white space."""
    if len(token) > 1:
        token = token.removeprefix(SENTENCEPIECE_SPACE).removeprefix(WORDPIECE_CONTINUATION)
    token = token.replace(SENTENCEPIECE_SPACE, " ")
    # half of a surrogate pair, which fonts and files cannot represent
    token = token.encode("utf-8", "replace").decode("utf-8")
    if token.strip() and token.isprintable():
        return token
    return "".join("␣" if letter.isspace() else letter for letter in token)


def _text_width(tokens: list[str], size: float) -> float:
    # An average letter is 0.6 of the font size wide.
    return max(map(len, tokens)) * 0.6 * size / 72


def check_weights(weights: np.ndarray, expected: tuple[int, ...], axes: str) -> None:
    """Raises a ValueError unless the weights have this shape and are between 0 and 1."""
    if weights.shape != expected or not weights.size:
        raise ValueError(
            f"`weights` must have shape ({axes}), which is {expected}, and not be empty. "
            f"Received: weights.shape={weights.shape}"
        )
    low, high = weights.min(), weights.max()
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also rejects NaN; half precision rounds above 1
        raise ValueError(
            "`weights` must be between 0 and 1, as after a softmax. "
            f"Received: weights from {low} to {high}"
        )
