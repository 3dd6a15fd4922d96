import json

import pytest

from report import Report, make_parser, rows_of
from turns import Result, Variant, measure, measure_here

WORK = """
import pathlib, sys

def write(options):
    def run():
        with open(options.file, "a") as file:
            file.write(options.letter)
        print("not a reply")
    return run

def missing(options):
    import no_such_package

def exiting(options):
    return sys.exit

def waiting(options):
    return sys.stdin.read

def allocating(options):
    return lambda: bytearray(options.megabytes * 2**20)
"""


@pytest.fixture
def variant(tmp_path):
    """Function from a name and options to a variant of the work above."""
    (tmp_path / "work.py").write_text(WORK)
    environment = {"PYTHONPATH": str(tmp_path)}
    return lambda name, **options: Variant(f"work:{name}", options, environment)


def test_variants_take_turns(variant, tmp_path):
    file = tmp_path / "letters"
    variants = {letter: variant("write", letter=letter) for letter in "ab"}
    results = measure(variants, {"file": str(file)}, rounds=3, warm_up=1)
    letters = file.read_text()
    assert sorted(letters[:2]) == ["a", "b"]  # the processes warm up at the same time
    assert letters[2:] == "ababab"
    assert [len(result.times) for result in results.values()] == [3, 3]


def test_memory_of_a_variant_is_its_own(variant):
    variants = {str(size): variant("allocating", megabytes=size) for size in (1, 200)}
    results = measure(variants, {}, rounds=1)
    assert results["1"].step_memory < 100
    assert 190 < results["200"].step_memory < 300


def test_variants_that_do_not_run_are_left_out(variant, tmp_path, capsys):
    variants = {
        "peer": variant("missing"),
        "crashed": variant("exiting"),
        "ours": variant("write", letter="a", file=str(tmp_path / "letters")),
    }
    assert list(measure(variants, {}, rounds=1)) == ["ours"]
    printed = capsys.readouterr().out
    assert "peer: skipped, No module named 'no_such_package'" in printed
    assert "crashed: skipped, its process ended with status 0" in printed


def test_timeout_ends_the_processes(variant, capsys):
    assert measure({"slow": variant("waiting")}, {}, rounds=1, timeout=1) == {}
    assert "slow: skipped, its process ended with status -9" in capsys.readouterr().out


def test_functions_take_turns_in_one_process():
    letters = []
    runs = {letter: lambda letter=letter: letters.append(letter) for letter in "ab"}
    results = measure_here(runs, rounds=2, warm_up=1)
    assert letters == list("ababab")
    assert [len(result.times) for result in results.values()] == [2, 2]


def test_ratio_is_of_the_same_turn():
    # other work slowed the second turn of both
    assert Result([10, 100, 10]).ratio(Result([20, 200, 10])) == 0.5


def test_rows_have_ratio_rate_and_share_of_the_limit():
    results = {"ours": Result([10.0], 0, 500, 20), "limit": Result([4.0], 0, 90, 1)}
    ours, limit = rows_of(results, tokens=50, memory="step_memory")
    assert ours == {"variant": "ours", "ms": 10, "time ratio": 1, "tokens/s": 5000,
                    "share of limit": "40%", "MB": 20}  # fmt: skip
    assert limit["time ratio"] == 0.4


def test_share_of_the_limit_is_that_of_the_own_limit_of_a_variant():
    times = {"a int8": 10.0, "b float32": 40.0, "limit": 20.0, "limit of int8": 5.0}
    rows = rows_of({name: Result([time]) for name, time in times.items()})
    assert [row["share of limit"] for row in rows] == ["50%", "50%", "100%", "100%"]


def test_report_prints_and_writes_tables(tmp_path, capsys):
    parser = make_parser("Title.\n\nMore.", length=8)
    options = parser.parse_args(["--length", "16", "--json", str(tmp_path / "out.json")])
    report = Report(options)
    report.table("steps", [{"variant": "ours", "ms": 1234.5}, {"variant": "peer", "ms": 9.876}])
    report.save()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5:-1] == [
        "| variant | ms    |",
        "| ------- | ----- |",
        "| ours    | 1,234 |",
        "| peer    | 9.88  |",
    ]
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["options"]["length"] == 16
    assert written["tables"] == [
        {"title": "steps", "rows": [{"variant": "ours", "ms": 1234.5},
                                    {"variant": "peer", "ms": 9.876}]}
    ]  # fmt: skip
    assert written["machine"]["cores"] >= 1
