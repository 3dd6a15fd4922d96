"""Sources of growing length: XNNPACK drops no copy of a generator."""

import subprocess
import sys
from collections import Counter

import pytest
from ai_edge_litert import schema_py_generated as schema

from helpers import convert, edited
from keras_attention.export.tflite import conversion
from keras_attention.export.tflite.flatbuffer import builtin_operator, read_model, write_model
from keras_attention.export.tflite.xnnpack import compute_shapes, find_copies
from keras_attention.generation import BeamSearch

MAX_LENGTH = 12
COUNT_WRONG = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

path, max_length = sys.argv[1], int(sys.argv[2])
without = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
reference = Interpreter(path, experimental_op_resolver_type=without).get_signature_runner("details")
rng, wrong = np.random.default_rng(0), 0
for _ in range(40):
    run = Interpreter(path).get_signature_runner("details")
    for length in (5, max_length):
        source = np.append(rng.integers(4, 10, length - 1), 2)[None].astype("int32")
        outputs, expected = run(source=source), reference(source=source)
    wrong += not all(np.allclose(outputs[name], expected[name], atol=1e-4) for name in expected)
print(wrong)
"""
BEAM = BeamSearch(
    3, coverage_penalty=0.1, num_return_sequences=2, max_new_tokens=9, length_ratio=1.5
)


@pytest.fixture(scope="module")
def files(make_translator):
    """The file as TensorFlow's converter writes it, and as `convert` returns it."""
    task = make_translator(BEAM, max_source_length=MAX_LENGTH, attention="luong", combine="add")
    converted = []

    def record(model):
        converted.append(write_model(model))
        compute_shapes(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "compute_shapes", record)
        ours = convert(task)
    return converted[0], ours


def count_operators(model):
    """Returns the number of operators of each kind."""
    return Counter(
        builtin_operator(model, operator)
        for graph in model.subgraphs
        for operator in graph.operators
    )


def count_wrong(path):
    """Returns how many of 40 interpreters return wrong outputs after a shorter source."""
    command = [sys.executable, "-c", COUNT_WRONG, str(path), str(MAX_LENGTH)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
def test_a_source_longer_than_all_before(files, tmp_path):
    paths = tmp_path / "converted.tflite", tmp_path / "ours.tflite"
    for path, file in zip(paths, files, strict=True):
        path.write_bytes(file)
    by_chance, ours = map(count_wrong, paths)  # the first depends on memory addresses
    print(
        f"\nwrong outputs: {by_chance} of 40 with the file as TensorFlow's converter writes it, "
        f"{ours} of 40 with ours"
    )
    assert ours == 0


@pytest.mark.slow
def test_xnnpack_runs_no_copy(files):
    before, after = map(read_model, files)
    assert all(find_copies(before, graph) for graph in before.subgraphs[:2])  # the two signatures
    assert not any(find_copies(after, graph) for graph in after.subgraphs)
    assert set(count_operators(after) - count_operators(before)) == {schema.BuiltinOperator.ADD}
    assert not count_operators(before) - count_operators(after)
    assert edited(files[1], compute_shapes) == files[1]
