"""Process of one variant: `python worker.py MODULE:FUNCTION OPTIONS`, started by `turns.py`.

The function gets the options, a JSON object, as attributes, and returns a function that runs the
work once. For each line on standard input the work runs once and a JSON line with its time follows.
This file needs Python's standard library only, so that it runs in the environment of any peer.
"""

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace


def make_run(step: str, options: dict):
    """Returns the function that runs the work of `"module:function"` once."""
    module, function = step.split(":")
    return getattr(importlib.import_module(module), function)(SimpleNamespace(**options))


def peak_memory() -> float:
    """Returns the peak memory in MB: of the GPU if there is one, otherwise of this process."""
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    on_gpu = 0
    if torch and torch.cuda.is_available():
        on_gpu += torch.cuda.max_memory_allocated()
    if jax and jax.default_backend() == "gpu":
        on_gpu += jax.devices()[0].memory_stats()["peak_bytes_in_use"]
    return on_gpu / 2**20 or peak_of_process()


def peak_of_process() -> float:
    """Returns the peak memory of this process in MB."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # of macOS, in bytes
    # on Linux `ru_maxrss` is at least that of the process that started this one
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].removesuffix("kB")) / 1024


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print does not mix with the replies

    def reply(**values) -> None:
        print(json.dumps(values), file=replies, flush=True)

    step, options = sys.argv[1], json.loads(sys.argv[2])
    try:
        start = time.perf_counter()
        run = make_run(step, options)
        before = peak_memory()
        for _ in range(options["warm_up"]):
            run()
        reply(first_seconds=time.perf_counter() - start)
    except ImportError as error:
        reply(skipped=str(error))
        return
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        reply(ms=1000 * (time.perf_counter() - start))
    peak = peak_memory()
    reply(memory=peak, step_memory=peak - before)


if __name__ == "__main__":
    main()
