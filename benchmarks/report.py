"""Command line, tables and JSON of the benchmarks."""

import argparse
import json
import math
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from turns import Result

PACKAGES = ("keras", "tensorflow", "jax", "torch", "keras-hub", "transformers", "ctranslate2")
LIMIT = "limit"

Row = dict[str, str | float]


def make_parser(doc: str, rounds: int = 10, **sizes: int) -> argparse.ArgumentParser:
    """Returns a parser of sizes, `--rounds` and `--json`, with their defaults."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    for name, size in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=size, help=f"[{size}]")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"turns of each [{rounds}]")
    parser.add_argument("--json", type=Path, help="file to write options, machine and tables to")
    return parser


class Report:
    """Tables of a benchmark, printed one by one and written as JSON at the end.

    Args:
        options: the parsed command line.
    """

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.tables: list[dict] = []
        self.load = os.getloadavg()[0]
        print(f"{os.cpu_count()} cores, load average {self.load:.1f} at the start\n")

    def table(self, title: str, rows: Sequence[Row]) -> None:
        """Prints rows of the same columns as a Markdown table."""
        self.tables.append({"title": title, "rows": list(rows)})
        cells = [list(rows[0]), *([format_cell(x) for x in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        print(f"{title}\n")
        for index, line in enumerate(cells):
            padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            print(f"| {' | '.join(padded)} |")
            if not index:
                print(f"| {' | '.join('-' * width for width in widths)} |")
        print(flush=True)

    def save(self) -> None:
        """Writes the file of `--json`."""
        if self.options.json:
            machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "load": self.load}
            options = {name: str(x) if isinstance(x, Path) else x
                       for name, x in vars(self.options).items()}  # fmt: skip
            content = {"machine": machine, "packages": installed_packages(), "options": options,
                       "tables": self.tables}  # fmt: skip
            self.options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def rows_of(results: dict[str, Result], tokens: int = 0, memory: str = "memory") -> list[Row]:
    """Returns the rows of a table, one for each variant.

    Args:
        results: of `measure`. The times are divided by that of the first. One may be named
            `"limit"`: the least work, such as the matrix products alone. `"limit of int8"` is that
            of the variants with `"int8"` in their names.
        tokens: number of tokens of one run, for a column of tokens per second.
        memory: which memory of the results is shown, `"memory"` or `"step_memory"`.
    """
    rows, baseline = [], next(iter(results.values()))
    for name, result in results.items():
        limit = limit_of(str(name), results)
        row: Row = {"variant": str(name), "ms": result.median, "time ratio": result.ratio(baseline)}
        if tokens:
            row["tokens/s"] = 1000 * tokens / result.median
        if limit:
            row["share of limit"] = f"{limit.ratio(result):.0%}"
        if not math.isnan(result.memory):
            row["MB"] = getattr(result, memory)
        rows.append(row)
    return rows


def limit_of(name: str, results: dict[str, Result]) -> Result | None:
    """Returns the result of a variant's own limit, that of all variants, or `None`."""
    prefix = f"{LIMIT} of "
    for limit, result in results.items():
        if str(limit).startswith(prefix) and str(limit).removeprefix(prefix) in name:
            return result
    return results.get(LIMIT)


def format_cell(x: str | float) -> str:
    """Returns a string as it is and a number with about three digits."""
    if isinstance(x, str):
        return x
    return f"{x:.2f}" if abs(x) < 10 else f"{x:.1f}" if abs(x) < 100 else f"{x:,.0f}"


def installed_packages() -> dict[str, str]:
    """Returns the versions of the packages that are compared."""
    versions = {each.metadata["Name"]: each.version for each in metadata.distributions()}
    return {name: versions[name] for name in PACKAGES if name in versions}


def cpu_name() -> str:
    """Returns the name of the processor."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
