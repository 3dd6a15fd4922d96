"""Prediction for inputs of any number: sorted by length in windows, with results in order."""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import keras
import numpy as np

from keras_attention.types import Postprocessor, Preprocessor, Runner
from keras_attention.utils.validation import check_positive


@dataclasses.dataclass(frozen=True)
class BulkOptions:
    """Sizes of batches and windows, and the number of threads; see `Task.predict_iterable`."""

    batch_size: int
    batch_tokens: int | None
    window_size: int
    workers: int

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if value is not None:
                check_positive(name, value)


class BulkPredictor:
    """Runs a task on an iterable of inputs.

    Args:
        preprocessor: preprocessor of the task.
        runner: runner of the task; with several workers, threads call it at the same time.
        postprocessor: postprocessor of the task.
        options: sizes of batches and windows, and the number of threads.
    """

    def __init__(
        self,
        preprocessor: Preprocessor,
        runner: Runner,
        postprocessor: Postprocessor,
        options: BulkOptions,
    ):
        self.preprocessor = preprocessor
        self.runner = runner
        self.postprocessor = postprocessor
        self.options = options

    def predict(self, inputs: Iterable[Any], bar: keras.utils.Progbar) -> Iterator[Any]:
        """Yields the result for each input, in the order of the inputs.

        While the results of a window are awaited, the next window is encoded and, with several
        workers, run.
        """
        with _mapping(self.options.workers) as run_all:
            started: collections.deque[_Started] = collections.deque()
            for window in _windows(inputs, self.options.window_size):
                batches = self._batches(window)
                started.append(_Started(window, batches, run_all(self._run, batches)))
                if len(started) > 1:
                    yield from started.popleft().in_order(bar)
            while started:
                yield from started.popleft().in_order(bar)

    def _batches(self, window: "_Window") -> list["_Batch"]:
        """Encodes a window and divides it into batches of similar length, the longest first."""
        examples = self._encode(window)
        batches = sorted_batches(
            [len(example) for example in examples],
            self.options.batch_size,
            self.options.batch_tokens,
        )
        return [_Batch(window, rows, [examples[row] for row in rows]) for rows in batches]

    def _encode(self, window: "_Window") -> list:
        try:
            return self.preprocessor.encode_examples(window.inputs)
        except Exception as error:
            for row, each in enumerate(window.inputs):
                with _errors_name_input(window, row):
                    self.preprocessor.encode_examples([each])
            raise _error_of(window, np.arange(len(window.inputs)), error) from error

    def _run(self, batch: "_Batch") -> list:
        """Returns the results of one batch."""
        try:
            return self._run_examples(batch.examples)
        except Exception as error:
            for row, example in zip(batch.rows, batch.examples, strict=True):
                with _errors_name_input(batch.window, row):
                    self._run_examples([example])
            raise _error_of(batch.window, batch.rows, error) from error

    def _run_examples(self, examples: list) -> list:
        batch = self.preprocessor.pad_examples(examples)
        return list(self.postprocessor(self.runner(batch.model_inputs), batch))


@dataclasses.dataclass(frozen=True)
class _Window:
    """Inputs that are sorted together; `start` of them came before."""

    start: int
    inputs: list


@dataclasses.dataclass(frozen=True)
class _Batch:
    """Examples of the rows of a window that are run together."""

    window: _Window
    rows: np.ndarray
    examples: list


@dataclasses.dataclass(frozen=True)
class _Started:
    """A window whose batches are run, and an iterator of their results."""

    window: _Window
    batches: list[_Batch]
    results: Iterator[list]

    def in_order(self, bar: keras.utils.Progbar) -> Iterator[Any]:
        """Awaits all batches and yields the results in the order of the inputs."""
        ordered: list = [None] * len(self.window.inputs)
        done = self.window.start
        for batch, results in zip(self.batches, self.results, strict=True):
            for row, result in zip(batch.rows, results, strict=True):
                ordered[row] = result
            done += len(batch.rows)
            bar.update(done)
        yield from ordered


def sorted_batches(
    lengths: Sequence[int], batch_size: int, batch_tokens: int | None
) -> list[np.ndarray]:
    """Divides examples into batches of similar length, the longest first.

    The longest first, so that threads end at about the same time and a batch that does not fit into
    memory fails at once.

    Args:
        lengths: length of each example.
        batch_size: maximum number of examples in a batch.
        batch_tokens: maximum number of positions in a batch, its number of examples times the
            longest length, or `None`. An example that is longer is a batch by itself.

    Returns:
        The indices of the examples of each batch.

    Example:

    >>> [rows.tolist() for rows in sorted_batches([3, 9, 8, 2, 1], 2, 16)]
    [[1], [2, 0], [3, 4]]
    """
    order = np.argsort([-length for length in lengths], kind="stable")
    batches, start = [], 0
    while start < len(order):
        longest = max(1, lengths[order[start]])
        fitting = max(1, (batch_tokens or longest * batch_size) // longest)
        end = start + min(batch_size, fitting)
        batches.append(order[start:end])
        start = end
    return batches


def _windows(inputs: Iterable[Any], size: int) -> Iterator[_Window]:
    remaining, start = iter(inputs), 0
    while window := list(islice(remaining, size)):
        yield _Window(start, window)
        start += len(window)


@contextlib.contextmanager
def _mapping(workers: int) -> Iterator[Callable]:
    """Yields `map` for this thread, or for a pool of threads that begin at once."""
    if workers == 1:
        yield map
        return
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _errors_name_input(window: _Window, row: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _error_of(window, np.array([row]), error) from error


def _error_of(window: _Window, rows: np.ndarray, error: Exception) -> ValueError:
    """Returns an error of one line that names the number of the input, counted from 1."""
    numbers = window.start + rows + 1
    which = f"input {numbers[0]}, {repr(window.inputs[rows[0]])[:80]}"
    if len(rows) > 1:
        which = f"inputs {min(numbers)} to {max(numbers)}, {len(rows)} of which are one batch"
    reason = " ".join(str(error).split())[:300]
    return ValueError(
        f"The task could not process an input. Received: {which} ({type(error).__name__}: {reason})"
    )
