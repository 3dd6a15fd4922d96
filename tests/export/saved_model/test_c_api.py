"""TensorFlow's C API compared with TensorFlow's Python, and alone in a process."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_attention.export.saved_model import c_api_script
from keras_attention.export.saved_model.c_api import Session
from keras_attention.export.saved_model.c_api.session import Tensor

STRINGS = [
    "",
    "äx 日本",
    b"zero\0 inside \0",
    "a longer string than fits in twenty-four bytes",
    b"\xff",
]
DTYPES = {"half": "f2", "float": "f4", "double": "f8", "byte": "u1", "int": "i4", "long": "i8"}


class Echo(tf.Module):
    """Returns its inputs and values computed from them."""

    def strings(self, text):
        doubled = tf.strings.join([text, text])
        return {"text": text, "doubled": doubled, "length": tf.strings.length(text)}

    def numbers(self, **numbers):
        return {**numbers, "truth": tf.equal(numbers["int"], 2)}

    def words(self, text):
        return {"words": tensorflow_text.WhitespaceTokenizer().tokenize(text).to_tensor("")}


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    folder, echo = tmp_path_factory.mktemp("echo"), Echo()
    spec, text = tf.TensorSpec, tf.TensorSpec((None, 2), tf.string, name="text")
    numbers = {name: spec((None, 3), np.dtype(dtype), name=name) for name, dtype in DTYPES.items()}
    signatures = {
        "strings": tf.function(echo.strings, [text]).get_concrete_function(),
        "numbers": tf.function(echo.numbers).get_concrete_function(**numbers),
        "words": tf.function(echo.words, [spec((None,), tf.string, name="text")]),
    }
    tf.saved_model.save(echo, str(folder), signatures)
    return folder


@pytest.fixture(scope="module")
def session(version):
    with Session(version) as session:
        yield session


def test_signatures_are_read(session):
    assert sorted(session.signatures) == ["numbers", "strings", "words"]
    signature = session.signatures["strings"]
    (text,) = signature.inputs.values()
    assert text == Tensor("strings_text:0", tf.string.as_datatype_enum, (None, 2))
    assert signature.outputs["length"].dtype == tf.int32.as_datatype_enum
    assert session.signatures["words"].outputs["words"].shape == (None, None)
    assert session.operations == ["TFText>WhitespaceTokenizeWithOffsetsV2"]


def test_strings_round_trip(session):
    rows = [[text, "b"] for text in STRINGS] * 100  # enough that freeing twice would crash
    for _ in range(3):
        outputs = session.run("strings", {"text": rows})
    encoded = [[x if isinstance(x, bytes) else x.encode() for x in row] for row in rows]
    assert outputs["text"].tolist() == encoded
    assert outputs["doubled"].tolist() == [[x * 2 for x in row] for row in encoded]
    assert outputs["length"].tolist() == [[len(x) for x in row] for row in encoded]


def test_numbers_round_trip(session):
    arrays = {name: np.array([[1, 2, 3], [4, 5, 200]], dtype) for name, dtype in DTYPES.items()}
    for inputs in (arrays, {name: array.tolist() for name, array in arrays.items()}):
        outputs = session.run("numbers", inputs)
        for name, array in arrays.items():
            assert outputs[name].dtype == array.dtype
            np.testing.assert_array_equal(outputs[name], array)
        assert outputs["truth"].tolist() == [[False, True, False], [False, False, False]]
    np.testing.assert_array_equal(
        session.run("numbers", {name: array[:, ::-1] for name, array in arrays.items()})["int"],
        arrays["int"][:, ::-1],  # not contiguous
    )


def test_empty_batches(session):
    assert session.run("strings", {"text": np.empty((0, 2), object)})["length"].shape == (0, 2)
    outputs = session.run("numbers", {name: np.empty((0, 3)) for name in DTYPES})
    assert {name: array.shape for name, array in outputs.items()} == dict.fromkeys(outputs, (0, 3))
    assert session.run("words", {"text": []})["words"].shape == (0, 0)


@pytest.mark.slow
def test_outputs_equal_those_of_tensorflows_python(saved_model):
    texts = ["bca", "", "äx"]
    signatures = tf.saved_model.load(str(saved_model.folder / "1")).signatures
    with Session(saved_model.folder / "1") as session:
        for name in ("serving_default", "details"):
            expected = signatures[name](text=tf.constant(texts))
            outputs = session.run(name, {"text": texts})
            assert set(outputs) == set(expected)
            for each, array in outputs.items():
                if array.dtype == object:
                    np.testing.assert_array_equal(array, expected[each].numpy())
                else:
                    np.testing.assert_allclose(array, expected[each].numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("other", {}, "`signature` must be one of .*'words'.* Received: signature='other'"),
        ("words", {"ids": ["a"]}, r"`inputs` must have the keys \['text'\]. Received: \['ids'\]"),
        ("words", {"text": "a"}, r"`text` must be strings of shape \(None,\). Received: .* 'a'"),
        ("words", {"text": [1]}, r"`text` must be strings of shape .* Received: .*\[1\]"),
        ("words", {"text": [["a"]]}, r"`text` must be strings of .* of shape \(1, 1\)"),
    ],
)
def test_inputs_that_do_not_match_the_signature_raise(session, signature, inputs, message):
    with pytest.raises(ValueError, match=message):
        session.run(signature, inputs)


@pytest.mark.parametrize("value", [256, 1.5, "1"])
def test_numbers_that_the_dtype_cannot_hold_raise(session, value):
    inputs = {name: np.zeros((1, 3)) for name in DTYPES} | {"byte": [[0, value, 0]]}
    with pytest.raises(ValueError, match="`byte` must be uint8 of shape .* Received: "):
        session.run("numbers", inputs)


def test_a_folder_without_saved_model_raises(tmp_path):
    with pytest.raises(ValueError, match="`version` must be .* SavedModel .* Could not find"):
        Session(tmp_path)


def test_script_runs_without_tensorflows_python(version, tmp_path):
    calls = [
        {"signature": "words", "inputs": {"text": ["a bb", {"b64": "YwDDpA=="}]}, "timed": True},
        {"signature": "words", "inputs": {"text": []}, "timed": False},
    ]
    (tmp_path / "calls").write_text(json.dumps(calls))
    command = [sys.executable, "-P", c_api_script.__file__]
    subprocess.run([*command, version, tmp_path / "calls", tmp_path / "results"], check=True)
    results = json.loads((tmp_path / "results").read_text())
    words = [{"words": [["a", "bb"], ["c\0ä", ""]]}, {"words": []}]
    assert results["outputs"] == words
    assert len(results["milliseconds"]) == 1 and results["milliseconds"][0] > 0
    assert results["operations"] == ["TFText>WhitespaceTokenizeWithOffsetsV2"]
    assert not {*c_api_script.BLOCKED_MODULES} & {*results["imported"]}
    assert {"c_api", "numpy"} < {*results["imported"]}


def test_unknown_operations_raise(version):
    """Runs in another process, because tensorflow-text's operations are loaded in this one."""
    folder = c_api_script.__file__.rpartition("/")[0]
    code = (
        f"import sys; sys.path.insert(0, {folder!r})\n"
        f"import c_api; c_api.Session({str(version)!r}, libraries=())"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: `version` must be the folder of a SavedModel")
    assert "TFText>WhitespaceTokenizeWithOffsetsV2" in last


@pytest.fixture(scope="module")
def damaged(version, tmp_path_factory):
    """A SavedModel whose signatures name tensors that its graph does not have."""
    folder = shutil.copytree(version, tmp_path_factory.mktemp("damaged") / "1")
    saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    for name in ("none:0", "", ":0", "strings_text", "strings_text:1", "strings_text:-1"):
        signatures[name].CopyFrom(signatures["strings"])
        signatures[name].inputs["text"].name = name
        signatures[f"output {name}"].CopyFrom(signatures["strings"])
        signatures[f"output {name}"].outputs["length"].name = name
    for dtype in (0, 1, 8, 20, 99):  # none, float, complex64, resource, unknown
        signatures[f"dtype {dtype}"].CopyFrom(signatures["strings"])
        signatures[f"dtype {dtype}"].inputs["text"].dtype = dtype
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    return folder


# Each runs in a process of its own, which a segmentation fault would end.
CRASHES = {
    "run after close": """
session.close()
session.close()
raises("`run` needs an open session", "strings", {"text": [["a", "b"]]})
""",
    "close during run": """
import threading
import time

sums, errors = [], []

def run():
    try:
        while True:
            sums.append(session.run("strings", {"text": [["a", "b"]] * 20000})["length"].sum())
    except ValueError as error:
        errors.append(str(error))

threads = [threading.Thread(target=run) for _ in range(4)]
[thread.start() for thread in threads]
while len(sums) < 8:
    time.sleep(0.01)
session.close()
[thread.join() for thread in threads]
assert set(sums) == {40000}, set(sums)
assert len(errors) == 4 and all("open session" in error for error in errors), errors
""",
    "signatures of tensors that do not exist": """
names = [name for name in session.signatures if name not in ("numbers", "strings", "words")]
assert len(names) == 17, names
for name in names:
    message = "must have a dtype" if "dtype" in name else "must name tensors of the graph"
    if name == "dtype 1":  # the graph has a string there
        raises("TF_Code", name, {"text": [[1.0, 2.0]]})
    else:
        raises(message, name, {"text": [["a", "b"]]})
assert session.run("strings", {"text": [["a", "b"]]})["length"].tolist() == [[1, 1]]
""",
}


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("case", CRASHES)
def test_nothing_crashes_the_process(damaged, case):
    code = f"""
import sys
sys.path.insert(0, {c_api_script.__file__.rpartition("/")[0]!r})
from c_api import Session

session = Session({str(damaged)!r})

def raises(message, *arguments):
    try:
        session.run(*arguments)
    except ValueError as error:
        assert message in str(error), error
    else:
        raise AssertionError(arguments)

{CRASHES[case]}"""
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
