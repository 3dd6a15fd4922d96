"""Sources that grow: XNNPACK loses no copy of a generator."""

import subprocess
import sys
from collections import Counter

import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from keras_attention.export.tflite import writer as tflite
from keras_attention.export.tflite.flatbuffer import builtin_of
from keras_attention.export.tflite.xnnpack import compute_shapes, copies
from keras_attention.generation import BeamSearch

LIMIT = 12
GROW = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

path, limit = sys.argv[1], int(sys.argv[2])
without = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
plain = Interpreter(path, experimental_op_resolver_type=without).get_signature_runner("details")
rng, wrong = np.random.default_rng(0), 0
for _ in range(40):
    grown = Interpreter(path).get_signature_runner("details")
    for length in (5, limit):
        source = np.append(rng.integers(4, 10, length - 1), 2)[None].astype("int32")
        found, expected = grown(source=source), plain(source=source)
    wrong += not all(np.allclose(found[name], expected[name], atol=1e-4) for name in expected)
print(wrong)
"""
BEAM = BeamSearch(
    3, coverage_penalty=0.1, num_return_sequences=2, max_new_tokens=9, length_ratio=1.5
)


@pytest.fixture(scope="module")
def files(make_translator):
    """What TensorFlow's converter gives, and what `convert` makes of it."""
    task = make_translator(BEAM, max_source_length=LIMIT, attention="luong", combine="add")
    converted = []

    def noting(file):
        converted.append(file)
        return compute_shapes(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite, "compute_shapes", noting)
        ours = tflite.convert(task)
    return converted[0], ours


def read(file):
    return flatbuffer_utils.read_model_from_bytearray(bytearray(file))


def operations(model):
    """How many of the graphs' operations are of each kind."""
    return Counter(builtin_of(model, each) for graph in model.subgraphs for each in graph.operators)


def wrong(path):
    """How many interpreters, in a process of their own, give other words after a short source."""
    command = [sys.executable, "-c", GROW, str(path), str(LIMIT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_longer_source_than_all_before(files, tmp_path):
    paths = tmp_path / "converted.tflite", tmp_path / "ours.tflite"
    for path, file in zip(paths, files, strict=True):
        path.write_bytes(file)
    chance, ours = map(wrong, paths)  # the first hangs on where memory lies
    print(
        f"\nother words: {chance} of 40 with the file as TensorFlow's converter writes it, "
        f"{ours} of 40 with ours"
    )
    assert ours == 0


def test_no_copy_is_left_to_xnnpack(files):
    before, after = map(read, files)
    assert all(copies(before, graph) for graph in before.subgraphs[:2])  # the two signatures
    assert not any(copies(after, graph) for graph in after.subgraphs)
    assert set(operations(after) - operations(before)) == {schema.BuiltinOperator.ADD}
    assert not operations(before) - operations(after)
    assert compute_shapes(files[1]) == files[1]
