"""Shared code of the benchmarks: size options, random data, and median times."""

import argparse
import statistics
import time

import numpy as np


def parse_sizes(doc, **defaults):
    """Parses sizes from the command line and prints them."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    for name, size in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=size, help=f"[{size}]")
    options = parser.parse_args()
    print(", ".join(f"{name} {getattr(options, name)}" for name in defaults))
    return options


def random_batch(batch, length, vocabulary):
    """Returns random ids; the source lengths are between `length / 2` and `length`."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(length // 2, length + 1, (batch, 1))
    source = rng.integers(4, vocabulary, (batch, length), "int32")
    source = np.where(np.arange(length) < lengths, source, 0)
    target = rng.integers(4, vocabulary, (batch, length + 1), "int32")
    return {"source": source, "target": target[:, :-1]}, target[:, 1:]


def median_milliseconds(runs, rounds, warm_up=3):
    """Returns the median milliseconds of each function.

    The functions take turns, so that other load on the machine slows all of them alike.
    """
    times = {name: [] for name in runs}
    for turn in range(rounds + warm_up):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn >= warm_up:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}
