"""Variants of the same work, each in a process of its own, measured in turns.

Turns make other load on the machine slow all variants alike, and processes give each variant its
own peak memory, backend and Python.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True)
class Variant:
    """Work of one process.

    Args:
        step: `"module:function"`, see `worker.py`.
        options: values in place of the benchmark's options, and further ones.
        environment: environment variables.
        python: interpreter.
    """

    step: str
    options: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable


@dataclass(frozen=True)
class Result:
    """Measurements of one variant.

    Args:
        times: milliseconds of each turn.
        first_seconds: until the first runs had ended, imports included.
        memory: peak memory of the process in MB.
        step_memory: what the work added to it, without building the model.
    """

    times: list[float]
    first_seconds: float = math.nan
    memory: float = math.nan
    step_memory: float = math.nan

    @property
    def median(self) -> float:
        """Median milliseconds."""
        return statistics.median(self.times)

    def ratio(self, other: "Result") -> float:
        """Returns the median, over the turns, of this time divided by the other's."""
        pairs = zip(self.times, other.times, strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)


class WorkerProcess:
    """Running process of a variant."""

    def __init__(self, name: str, variant: Variant, options: Mapping[str, object]):
        self.name = name
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, **variant.environment}
        arguments = json.dumps({**options, **variant.options})
        self.process = subprocess.Popen(
            [variant.python, str(WORKER), variant.step, arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def read(self) -> dict:
        """Returns the next reply; `skipped` is the reason why there is none."""
        line = self.process.stdout.readline()
        if not line:
            return {"skipped": f"its process ended with status {self.process.wait()}"}
        return json.loads(line)

    def run(self) -> dict:
        """Runs the work once and returns `ms`."""
        with suppress(BrokenPipeError):  # `read` has the reason
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        return self.read()

    def finish(self) -> dict:
        """Ends the process and returns `memory` and `step_memory`."""
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        return self.read()

    def close(self) -> None:
        """Kills the process if it runs, and closes its pipes."""
        self.process.kill()
        with suppress(BrokenPipeError), self.process:
            pass


def measure(
    variants: Mapping[str, Variant],
    options: Mapping[str, object],
    rounds: int,
    warm_up: int = 2,
    timeout: float | None = None,
) -> dict[str, Result]:
    """Measures variants in turns, each in a process of its own.

    A variant whose packages are missing, or whose process ends, is left out, with a line that says
    so.

    Args:
        variants: by name.
        options: for all of them.
        rounds: number of turns.
        warm_up: runs before the first turn.
        timeout: seconds after which the processes are killed.
    """
    options = {**options, "warm_up": warm_up}
    workers = [WorkerProcess(name, variant, options) for name, variant in variants.items()]

    def kill():
        for worker in workers:
            worker.process.kill()

    timer = threading.Timer(math.inf if timeout is None else timeout, kill)
    try:
        if timeout is not None:
            timer.start()
        replies = {worker: [worker.read()] for worker in workers}
        for request in [*[WorkerProcess.run] * rounds, WorkerProcess.finish]:
            for worker in workers:
                if "skipped" not in replies[worker][-1]:
                    replies[worker].append(request(worker))
    finally:
        timer.cancel()
        for worker in workers:
            worker.close()
    results = {}
    for worker, (*others, last) in replies.items():
        if "skipped" in last:
            print(f"{worker.name}: skipped, {last['skipped']}", flush=True)
        else:
            first, *turns = others
            results[worker.name] = Result([reply["ms"] for reply in turns], **first, **last)
    return results


def measure_here(
    runs: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1
) -> dict[str, Result]:
    """Measures functions in turns in this process; the results have times and no memory."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(warm_up + rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn >= warm_up:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: Result(each) for name, each in times.items()}
