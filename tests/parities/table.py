"""Prints the table of all parities of all models: `PYTHONPATH=tests python -m parities.table`."""

import sys
import tempfile
from pathlib import Path

from parities.backends import differences, run_all
from parities.checks import PARITIES, TOLERANCE
from parities.families import FAMILIES, build

BACKENDS = "TensorFlow = JAX = PyTorch"


def main() -> int:
    """Prints the greatest differences; returns the number of models and parities that differ."""
    failed = 0
    columns = [*PARITIES, BACKENDS]
    print(f"| model | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "backends").mkdir()
        run_all(Path(folder, "backends"), list(FAMILIES))
        for name in FAMILIES:
            cells, model = [], build(name)
            for column in columns:
                try:
                    if column == BACKENDS:
                        value = differences(Path(folder, "backends"), name)
                    else:
                        with tempfile.TemporaryDirectory() as scratch:
                            value = PARITIES[column](name, model, Path(scratch))
                except AssertionError:
                    value = float("inf")
                failed += value is not None and not value <= TOLERANCE
                cells.append("" if value is None else f"{value:.0e}" if value else "0")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
