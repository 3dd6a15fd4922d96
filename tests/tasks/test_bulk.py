"""Prediction for any number of inputs: batches, order, memory, threads and errors."""

import itertools
import threading

import numpy as np
import pytest

from keras_attention.tasks.bulk import sorted_batches
from keras_attention.tasks.task import Task
from keras_attention.types import Batch


class Numbers:
    """Preprocessor of lists of numbers, and postprocessor of their sums."""

    item_name = "lists"

    def is_single(self, inputs):
        return isinstance(inputs, int)

    def encode_examples(self, inputs):
        return [np.array(each, "int32") for each in inputs]

    def pad_examples(self, examples):
        longest = max(map(len, examples))
        return Batch(np.stack([np.pad(each, (0, longest - len(each))) for each in examples]))

    def __call__(self, outputs, batch):
        return outputs["sums"].tolist()


class SumRunner:
    """Runner that fails on negative numbers and on more than `max_rows` rows."""

    default_workers = 1

    def __init__(self, max_rows=100):
        self.max_rows = max_rows
        self.shapes = []

    def __call__(self, model_inputs, details=False):
        self.shapes.append(model_inputs.shape)
        if (model_inputs < 0).any():
            raise RuntimeError("negative\nnumber")
        if len(model_inputs) > self.max_rows:
            raise MemoryError("too many rows")
        return {"sums": model_inputs.sum(1)}


def make(**options) -> tuple[Task, SumRunner]:
    runner, numbers = SumRunner(**options), Numbers()
    return Task(numbers, runner, numbers), runner


def lists(count):
    lengths = np.random.default_rng(0).integers(0, 30, count)
    return [[1] * int(length) for length in lengths]


@pytest.mark.parametrize(("batch_size", "batch_tokens"), [(4, None), (50, 64), (3, 20), (1, 1)])
def test_each_example_is_in_one_batch_within_the_limits(batch_size, batch_tokens):
    lengths = [len(each) for each in lists(97)]
    batches = sorted_batches(lengths, batch_size, batch_tokens)
    assert sorted(np.concatenate(batches)) == list(range(97))
    longest = [max(lengths[row] for row in rows) for rows in batches]
    assert longest == sorted(longest, reverse=True)
    for rows, length in zip(batches, longest, strict=True):
        assert len(rows) <= batch_size
        assert len(rows) == 1 or batch_tokens is None or len(rows) * length <= batch_tokens


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("window_size", [1, 7, 100])
def test_results_are_in_the_order_of_the_inputs(workers, window_size):
    task, runner = make()
    inputs = lists(45)
    results = task.predict_iterable(
        iter(inputs), 4, batch_tokens=40, window_size=window_size, workers=workers
    )
    assert list(results) == [len(each) for each in inputs]
    assert all(rows <= 4 and (rows == 1 or rows * n <= 40) for rows, n in runner.shapes)


def test_the_runner_chooses_the_number_of_workers():
    task, runner = make()
    together = threading.Barrier(3, timeout=60)

    def run(model_inputs, details=False):
        together.wait()
        return runner(model_inputs)

    run.default_workers = 3
    task.runner = run
    assert list(task.predict_iterable([[1] * n for n in range(9)], 1)) == list(range(9))
    assert task.predict([[1] * n for n in range(9)], 1) == list(range(9))


def test_predict_is_one_window():
    task, runner = make()
    assert task.predict([[1, 1], [1], [1, 1, 1]], batch_size=2) == [2, 1, 3]
    assert runner.shapes == [(2, 3), (1, 1)]
    assert task.predict([]) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_inputs_are_read_window_by_window(workers):
    task, _ = make()
    threads = threading.active_count()
    numbers = itertools.count()
    results = task.predict_iterable(
        ([1] * (next(numbers) % 5) for _ in itertools.count()), window_size=10, workers=workers
    )
    assert list(itertools.islice(results, 10)) == [0, 1, 2, 3, 4] * 2
    assert next(numbers) == 20  # two windows have been read
    results.close()
    assert threading.active_count() == threads


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_are_one_line_with_the_number_of_the_input(workers):
    task, _ = make()
    inputs = [*lists(33), [1, -1, 1], *lists(5)]
    results = task.predict_iterable(inputs, 8, window_size=10, workers=workers)
    assert list(itertools.islice(results, 20)) == [len(each) for each in inputs[:20]]
    with pytest.raises(ValueError, match=r"input 34, \[1, -1, 1\] \(RuntimeError: negative number"):
        list(results)
    with pytest.raises(ValueError, match=r"input 3, 'x' \(ValueError: invalid"):
        list(task.predict_iterable([[1], [2], "x", [3]], workers=workers))


def test_a_batch_that_fails_as_a_whole_is_named():
    task, _ = make(max_rows=3)
    inputs = [[1], [1, 1, 1], [1, 1], [1, 1], [1, 1]]
    assert list(task.predict_iterable(inputs, 3)) == [1, 3, 2, 2, 2]
    expected = "inputs 2 to 5, 4 of which are one batch .MemoryError: too many rows"
    with pytest.raises(ValueError, match=expected):
        list(task.predict_iterable(inputs, 4))


def test_invalid_arguments():
    task, _ = make()
    with pytest.raises(ValueError, match="`lists` must be a list. Received: 3"):
        task.predict_iterable(3)
    for name in ("batch_size", "batch_tokens", "window_size", "workers"):
        with pytest.raises(ValueError, match=f"`{name}` must be positive. Received: {name}=0"):
            task.predict_iterable([], **{name: 0})
