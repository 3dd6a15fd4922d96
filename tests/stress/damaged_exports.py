"""Counts damaged exports that `keras-attention verify` accepts or fails to report in one line.

    python tests/stress/damaged_exports.py saved_models/dates saved_models/dates/tflite-int8

In each run, one bit of a random file of a copy is flipped, or the file is cut at a random place.
"""

import argparse
import collections
import contextlib
import io
import random
import shutil
import tempfile
from pathlib import Path

from keras_attention.cli import main as run_command
from keras_attention.utils.manifest import DIGESTS, read_manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="exports")
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="for each [1000]")
    options = parser.parse_args()
    print("| export | damage | runs | noticed in one line | missed | tracebacks |")
    print("| --- | --- | --- | --- | --- | --- |")
    for folder in options.folders:
        for damage in (flip, cut):
            counts = collections.Counter(try_damage(folder, damage, options.runs))
            columns = (counts[outcome] for outcome in ("noticed", "missed", "traceback"))
            print(
                f"| {folder} | {damage.__name__} | {options.runs} | "
                f"{' | '.join(map(str, columns))} |",
                flush=True,
            )


def flip(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(data: bytes) -> bytes:
    return data[: random.randrange(len(data))]


def try_damage(folder: Path, damage, runs: int):
    """Yields "noticed", "missed" or "traceback" for each run."""
    random.seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copytree(folder, Path(scratch, "copy")))
        files = exported_files(copy)
        for _ in range(runs):
            path = random.choice(files)
            data = path.read_bytes()
            path.write_bytes(damage(data))
            errors = io.StringIO()
            try:
                with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
                    status = run_command(["verify", str(copy)])
                one_line = errors.getvalue().count("\n") == 1
                yield "noticed" if status == 2 and one_line else "missed"
            except Exception:
                yield "traceback"
            path.write_bytes(data)


def exported_files(folder: Path) -> list[Path]:
    """Returns the files of a TFLite export, or of a base path with one version."""
    (report,) = [folder, *folder.glob("1")][-1].glob("verification.json")
    names = read_manifest(report)
    files = [report, *(report.parent / name for name in names[DIGESTS])]
    return files + [folder / name for name in names.get("base_path_sha256", {})]


if __name__ == "__main__":
    main()
