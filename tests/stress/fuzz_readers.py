"""Reads thousands of damaged files: every one is read or refused by a `ValueError` that names it.

    python tests/stress/fuzz_readers.py --files 10000
    python tests/stress/fuzz_readers.py --files 200 --readers images torch --seed 7

Files are read in processes that were forked from one that has only imported the library, with
limits on memory and time. Failures are listed and, with `--failures FOLDER`, copied; the exit
status is 1 if there is any. The table that it prints is that of docs/reliability.md.
"""

import argparse
import collections
import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stress.damage import damage
from stress.readers import READERS, seal

MIB = 2**20
FILES_OF_PROCESS = 40
UNDAMAGED = -10  # numbers below 0 are files without damage


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000, help="damaged files [%(default)s]")
    parser.add_argument("--readers", nargs="+", choices=sorted(READERS), default=list(READERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, default=3000, help="MiB a process may add")
    parser.add_argument("--seconds", type=int, default=120, help="of one file")
    parser.add_argument("--failures", type=Path, help="folder to copy failures to")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        for name in options.readers:
            (options.write / name).mkdir()
            READERS[name].write(options.write / name)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return fuzz(options, Path(folder))


def fuzz(options: argparse.Namespace, folder: Path) -> int:
    """Damages and reads files for each reader; prints a table and the failures."""
    write_originals(options.readers, folder)
    import_all()
    total = sum(READERS[name].share for name in options.readers)
    failures = []
    print("| reader | files | read | refused | failures | peak memory (MiB) | longest (s) |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    sums: collections.Counter = collections.Counter()
    for name in options.readers:
        count = max(1, round(options.files * READERS[name].share / total))
        results = run_reader(name, folder / name, count, options)
        kinds = collections.Counter(result["kind"] for result in results)
        failed = [result for result in results if result["kind"] == "failure"]
        failures += failed
        sums.update(kinds)
        memory = max(result.get("memory", 0) for result in results)
        seconds = max(result["seconds"] for result in results)
        row = [name, len(results), kinds["read"], kinds["refused"], len(failed)]
        print("|", " | ".join(map(str, row)), f"| {memory:.0f} | {seconds:.1f} |", flush=True)
        for result in failed:
            print(f"  {result['file']} (file {result['index']}): {result['error']}", flush=True)
    print(f"| all | {sums.total()} | {sums['read']} | {sums['refused']} | {len(failures)} | | |")
    return int(bool(failures))


def write_originals(names: list[str], folder: Path) -> None:
    """Writes the original files of the readers in a process of its own.

    The processes that read are forked from this one, which must not have started TensorFlow.
    """
    command = [sys.executable, __file__, "--readers", *names, "--write", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the original files could not be written\n{done.stderr}")


def import_all() -> None:
    """Imports what the readers need, once, for all processes that are forked later."""
    import keras_attention.cli
    import keras_attention.export
    import keras_attention.images
    import keras_attention.interop.marian
    import keras_attention.tasks  # noqa: F401


def run_reader(name: str, original: Path, count: int, options: argparse.Namespace) -> list[dict]:
    """Returns a result for each of `count` damaged files."""
    for result in run_process(name, original, range(UNDAMAGED, 0), options):
        if result["kind"] != "read":
            raise SystemExit(f"{name}: the original files are not read: {result['error']}")
    results: list[dict] = []
    while len(results) < count:
        numbers = range(len(results), min(count, len(results) + FILES_OF_PROCESS))
        results += run_process(name, original, numbers, options)
    return results


def run_process(name: str, original: Path, numbers: range, options: argparse.Namespace) -> list:
    """Returns the results of one process: fewer than asked for if it crashed or was stopped."""
    receiver, sender = os.pipe()
    process = os.fork()
    if not process:
        os.close(receiver)
        try:
            read_files(name, original, numbers, options, sender)
        finally:
            os._exit(0)
    os.close(sender)
    results: list[dict] = []
    started, buffer, reason = time.monotonic(), b"", ""
    while True:
        ready, _, _ = select.select(
            [receiver], [], [], max(0, started + options.seconds - time.monotonic())
        )
        if not ready:
            os.kill(process, signal.SIGKILL)
            reason = f"not finished after {options.seconds} s"
            break
        received = os.read(receiver, 65536)
        if not received:
            break
        buffer += received
        *lines, buffer = buffer.split(b"\n")
        results += map(json.loads, lines)
        started = time.monotonic()
    os.close(receiver)
    _, status = os.waitpid(process, 0)
    if len(results) < len(numbers):
        number = numbers[len(results)]
        path, _ = damaged_file(name, original, number, options.seed)
        error = reason or f"the process ended with status {status}"
        seconds = time.monotonic() - started
        results.append(
            {"kind": "failure", "file": path, "index": number, "error": error, "seconds": seconds}
        )
        keep_failure(name, original, number, options)
    return results


def damaged_file(name: str, original: Path, number: int, seed: int) -> tuple[str, bytes]:
    """Returns the name of the file that is damaged, and its damaged content.

    The content of a file with a number below 0 is undamaged.
    """
    rng = random.Random(f"{seed} {name} {number}")
    path = rng.choice(sorted(path for path in original.rglob("*") if path.is_file()))
    content = path.read_bytes()
    return str(path.relative_to(original)), content if number < 0 else damage(content, rng)


def read_files(
    name: str, original: Path, numbers: range, options: argparse.Namespace, sender: int
) -> None:
    """Reads damaged files in a forked process, and sends a line with the result of each."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)
    os.chdir(original.parent)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    # Address space: TensorFlow reserves more than it uses.
    most = used + (options.memory + 2000) * MIB
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with tempfile.TemporaryDirectory() as parent:
        for number in numbers:
            folder = Path(parent) / f"files{number}"
            shutil.copytree(original, folder)
            path, content = damaged_file(name, original, number, options.seed)
            (folder / path).write_bytes(content)
            if number % 5:  # one in five keeps the digests that find the damage
                seal(folder)
            result = {"file": path, "index": number, **read_one(name, folder, path)}
            if result.get("memory", 0) > options.memory and result["kind"] != "failure":
                result |= {"kind": "failure", "error": f"{result['memory']:.0f} MiB"}
            if result["kind"] == "failure":
                keep_failure(name, original, number, options)
            shutil.rmtree(folder)
            os.write(sender, json.dumps(result).encode() + b"\n")


def read_one(name: str, folder: Path, path: str) -> dict:
    """Returns the kind of the result, the error, the seconds and the memory in MiB."""
    before, start = reset_peak_memory(), time.monotonic()
    error = ""
    try:
        READERS[name].read(folder, path)
        kind = "read"
    except ValueError as refusal:
        error = str(refusal)
        kind = "refused" if names_file(error, folder, path) else "failure"
    except BaseException as failure:
        kind, error = "failure", f"{type(failure).__name__}: {failure}"
    return {
        "kind": kind,
        "error": error[:400],
        "seconds": time.monotonic() - start,
        "memory": peak_memory() - before,
    }


def names_file(error: str, folder: Path, path: str) -> bool:
    return str(folder) in error or Path(path).name in error


def reset_peak_memory() -> float:
    """Resets the peak of this process to its present memory, and returns it in MiB."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not permitted: the peak is that of the process
        pass
    return peak_memory()


def peak_memory() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def keep_failure(name: str, original: Path, number: int, options: argparse.Namespace) -> None:
    """Copies the damaged file of a failure."""
    if options.failures:
        path, content = damaged_file(name, original, number, options.seed)
        target = options.failures / f"{name}-{number}" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
