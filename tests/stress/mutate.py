"""Mutation testing: small faults in the source that the tests of that file must notice.

    KERAS_BACKEND=torch python tests/stress/mutate.py --mutants 400 --output mutants.jsonl

Each mutant changes one expression or statement of a file: a comparison or arithmetic operator, a
constant, an axis, a condition, the order of two arguments, or a removed statement. The tests that
mirror the file run until the first failure; a mutant is killed if one fails or they do not end. One
process runs the unchanged tests once, so that everything lazy is imported, and forks a child for
each mutant, which imports the package anew with the changed module. PyTorch runs eagerly, so
nothing is compiled. A second call with the same output file continues where the first one stopped,
and prints the table.
"""

import argparse
import ast
import copy
import gc
import importlib.abc
import importlib.machinery
import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
TESTS = {
    "ops/masks.py": ["ops/test_masks.py", "ops/test_attention.py"],
    "ops/scores.py": ["ops/test_scores.py"],
    "ops/attention.py": ["ops/test_attention.py"],
    "ops/positions.py": ["ops/test_positions.py"],
    "layers/positions.py": ["layers/test_positions.py"],
    "generation/greedy_search.py": [
        "generation/test_strategy.py",
        "generation/test_properties.py",
        "generation/test_greedy_search.py",
    ],
    "generation/beam_search.py": [
        "generation/test_beam_search.py",
        "generation/test_strategy.py",
        "generation/test_properties.py",
    ],
}
TIME_LIMIT = 120  # seconds of CPU time of one mutant
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change of a file.

    Attributes:
        file: path below `keras_attention`.
        line: line of the change.
        kind: kind of the change.
        before: source of the changed node.
        after: source of the new node.
        source: source of the whole module.
    """

    file: str
    line: int
    kind: str
    before: str
    after: str
    source: str


def changes(node: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], ast.AST]]]:
    """Yields the changes of one node: the kind, and a function of a copy of the node."""

    def setting(**attributes):
        return lambda new: [setattr(new, *item) for item in attributes.items()] and new

    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield "comparison", setting(ops=[COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield "arithmetic", setting(op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "condition", setting(op=other)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Invert, ast.Not, ast.USub)):
        yield "negation", lambda new: new.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", setting(value=not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield "constant", setting(value=node.value + 1)
    elif isinstance(node, ast.keyword) and node.arg in ("axis", "keepdims"):
        other = ast.Constant(False) if node.arg == "keepdims" else ast.Constant(0)
        yield "axis", setting(value=other)
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield "condition", setting(test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Call) and len(node.args) >= 2:
        yield "arguments", setting(args=[node.args[1], node.args[0], *node.args[2:]])
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.If, ast.Expr)):
        yield "removal", lambda new: ast.Pass()


def places(tree: ast.Module) -> list[tuple[int, str, Callable]]:
    """Returns `(index, kind, change)` of every change; the index is that of `ast.walk`."""
    ignored: set[int] = set()
    for node in ast.walk(tree):
        parts: list = []
        if isinstance(node, (ast.Raise, ast.Import, ast.ImportFrom, ast.JoinedStr)):
            parts = [node]
        elif isinstance(node, ast.FunctionDef):
            parts = [*node.decorator_list, node.returns, node.args]
            if node.name in ("get_config", "from_config", "__init_subclass__"):
                parts = [node]
        elif isinstance(node, ast.ClassDef):
            parts = node.decorator_list
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            parts = [node]  # a docstring
        for part in parts:
            ignored |= {id(each) for each in ast.walk(part)} if part is not None else set()
    # Default values of arguments are changed, annotations are not.
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                ignored -= {id(each) for each in ast.walk(default)} if default else set()
    return [
        (index, kind, change)
        for index, node in enumerate(ast.walk(tree))
        if id(node) not in ignored
        for kind, change in changes(node)
    ]


def mutants_of(file: str) -> list[Mutant]:
    """Returns all mutants of a file, without those that cannot be written as source."""
    tree = ast.parse((ROOT / "keras_attention" / file).read_text())
    original, mutants = ast.unparse(tree), []
    for index, kind, change in places(tree):
        mutated = copy.deepcopy(tree)
        node = list(ast.walk(mutated))[index]
        before = ast.unparse(node)
        line = getattr(node, "lineno", None) or getattr(node, "value", node).lineno
        replacement = change(node)
        if replacement is not node:
            _Replace(node, replacement).visit(mutated)
        source = ast.unparse(ast.fix_missing_locations(mutated))
        if source != original:
            mutants.append(Mutant(file, line, kind, before, ast.unparse(replacement), source))
    return mutants


class _Replace(ast.NodeTransformer):
    def __init__(self, old, new):
        self.old, self.new = old, new

    def visit(self, node):
        return self.new if node is self.old else super().visit(node)


class MutantLoader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a module from the source of a mutant."""

    def __init__(self, mutant: Mutant):
        self.name = "keras_attention." + mutant.file[: -len(".py")].replace("/", ".")
        self.mutant = mutant

    def find_spec(self, name, path, target=None):
        if name != self.name:
            return None
        origin = str(ROOT / "keras_attention" / self.mutant.file)
        return importlib.machinery.ModuleSpec(name, self, origin=origin)

    def exec_module(self, module):
        exec(compile(self.mutant.source, module.__spec__.origin, "exec"), module.__dict__)


def run_tests(mutant: Mutant) -> tuple[str, float]:
    """Runs the tests of a mutant in a child process: `"killed"` or `"survived"`, and seconds."""
    start = time.monotonic()
    child = os.fork()
    if not child:
        _run_child(mutant)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return "survived" if code == 0 else "killed", time.monotonic() - start


def _run_child(mutant):
    code = 3
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (TIME_LIMIT, TIME_LIMIT))
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        forget_package()
        sys.meta_path.insert(0, MutantLoader(mutant))
        code = run_pytest(mutant.file)
    finally:
        os._exit(code)


def run_pytest(*files: str) -> int:
    """Runs the tests of these files up to the first failure; returns pytest's status."""
    import pytest

    tests = dict.fromkeys(test for file in files for test in TESTS[file])
    options = ["-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider"]
    options += ["-m", "not slow and not tensorflow_only"]
    return int(pytest.main([*options, *(str(ROOT / "tests" / test) for test in tests)]))


def forget_package() -> None:
    """Removes the package and its tests from the imported modules."""
    for name in list(sys.modules):
        if name.split(".")[0] in ("keras_attention", "tests", "helpers", "conftest"):
            del sys.modules[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--mutants", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", action="append", choices=list(TESTS), help="default: all")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--again", action="store_true", help="run the survivors again")
    options = parser.parse_args()
    chosen = sample(options.mutants, options.seed)
    results = read_results(options.output)
    todo = [m for m in chosen if not options.file or m.file in options.file]
    if options.again:
        todo = [m for m in todo if results.get(key(m), {}).get("result") == "survived"]
    else:
        todo = [m for m in todo if key(m) not in results]
    if todo:
        import_once()
        if run_pytest(*{mutant.file for mutant in todo}):
            raise SystemExit("The tests fail without a change.")
    gc.freeze()  # else the children copy the pages of every object
    deadline = time.monotonic() + options.seconds
    with options.output.open("a") as output:
        for mutant in todo:
            if time.monotonic() > deadline:
                break
            result, seconds = run_tests(mutant)
            record = {"key": key(mutant), "result": result, "seconds": round(seconds, 1)}
            record |= {name: getattr(mutant, name) for name in ("file", "line", "kind")}
            record |= {"before": mutant.before, "after": mutant.after}
            output.write(json.dumps(record) + "\n")
            output.flush()
    report({key(mutant) for mutant in chosen}, read_results(options.output))


def import_once() -> None:
    """Imports Keras and PyTorch, with one thread, since threads do not survive a fork."""
    sys.path.insert(0, str(ROOT))
    import keras  # noqa: F401
    import torch

    torch.set_num_threads(1)


def sample(count: int, seed: int) -> list[Mutant]:
    """Draws mutants from all files together, in a random order."""
    mutants = [mutant for file in TESTS for mutant in mutants_of(file)]
    rng = random.Random(seed)
    rng.shuffle(mutants)
    return mutants[:count]


def key(mutant: Mutant) -> str:
    return "|".join(map(str, (*mutant[:-1], hash_of(mutant.source))))


def hash_of(source: str) -> str:
    import hashlib

    return hashlib.sha256(source.encode()).hexdigest()[:12]


def read_results(path: Path) -> dict[str, dict]:
    """Returns the last result of each mutant."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return {record["key"]: record for record in map(json.loads, lines)}


def report(chosen: set[str], results: dict[str, dict]) -> None:
    """Prints a row for each file, and the survivors."""
    results = {name: record for name, record in results.items() if name in chosen}
    for file in TESTS:
        records = [record for record in results.values() if record["file"] == file]
        killed = sum(record["result"] == "killed" for record in records)
        print(f"{file:32} {len(records):4} mutants, {killed:4} killed")
    killed = sum(record["result"] == "killed" for record in results.values())
    print(f"{'all':32} {len(results):4} mutants, {killed:4} killed")
    for record in sorted(results.values(), key=lambda record: (record["file"], record["line"])):
        if record["result"] == "survived":
            before, after = record["before"], record["after"]
            print(f"{record['file']}:{record['line']}: {record['kind']}: {before!r} -> {after!r}")


if __name__ == "__main__":
    main()
