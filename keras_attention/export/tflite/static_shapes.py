"""Batches of any size for a TFLite file of static shapes: padded, run in pieces, and cropped."""

from collections.abc import Callable, Sequence

import numpy as np

from keras_attention.types import Batch


def run_in_pieces(
    run: Callable[..., dict[str, np.ndarray]],
    inputs: dict[str, np.ndarray],
    shapes: dict[str, tuple[int, ...]],
) -> dict[str, np.ndarray]:
    """Runs a function of static shapes on a batch of any size.

    Args:
        run: function of inputs of these shapes, by name.
        inputs: `source` and others, each `(batch, ...)`.
        shapes: static shape of each input.

    Returns:
        The outputs, cropped to the batch and to the length of `source`.

    Raises:
        ValueError: If `source` is longer than its static shape.
    """
    count, size = len(inputs["source"]), shapes["source"][0]
    pieces = []
    for start in range(0, max(count, 1), size):
        piece = {name: x[start : start + size] for name, x in inputs.items()}
        outputs = run(**{name: pad(x, shapes[name], name) for name, x in piece.items()})
        pieces.append({name: _crop(name, x, piece["source"]) for name, x in outputs.items()})
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def pad(x: np.ndarray, shape: Sequence[int], name: str = "source") -> np.ndarray:
    """Pads a batch to a static shape: its length with 0, its rows with copies of the last one.

    Copies end when the last row ends; rows of padding alone could be generated from for longer.

    Example:

    >>> pad(np.array([[5, 2]]), (2, 3)).tolist()
    [[5, 2, 0], [5, 2, 0]]
    """
    if any(n > size for n, size in zip(x.shape, shape, strict=True)):
        raise ValueError(f"`{name}` must have at most the shape {shape}. Received: {x.shape}")
    rows, *lengths = ((0, size - n) for n, size in zip(x.shape, shape, strict=True))
    x = np.pad(x, [(0, 0), *lengths])
    return np.pad(x, [rows, *[(0, 0)] * len(lengths)], "edge" if len(x) else "constant")


def pad_batch(batch: Batch, shape: Sequence[int]) -> Batch:
    """Returns a batch whose model inputs have a static shape."""
    return batch._replace(model_inputs=pad(np.asarray(batch.model_inputs), shape))


def _crop(name, x, source):
    """Removes the padding of an output."""
    x = x[: len(source)]
    if source.ndim != 2:  # images have no length
        return x
    if name == "attention":  # (B, n, T, S)
        return x[..., : source.shape[1]]
    if name == "probabilities" and x.ndim == 3:  # (B, S, tags)
        return x[:, : source.shape[1]]
    return x
