"""The C API against Python's TensorFlow, and alone in a process."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text

from keras_attention.export.saved_model import c_api_script as run_saved_model
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


class Same(tf.Module):
    """Gives what it got, and something made of it."""

    def strings(self, text):
        doubled = tf.strings.join([text, text])
        return {"text": text, "doubled": doubled, "length": tf.strings.length(text)}

    def numbers(self, **numbers):
        return {**numbers, "truth": tf.equal(numbers["int"], 2)}

    def words(self, text):
        return {"words": tensorflow_text.WhitespaceTokenizer().tokenize(text).to_tensor("")}


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    folder, same = tmp_path_factory.mktemp("same"), Same()
    spec, text = tf.TensorSpec, tf.TensorSpec((None, 2), tf.string, name="text")
    numbers = {name: spec((None, 3), np.dtype(dtype), name=name) for name, dtype in DTYPES.items()}
    signatures = {
        "strings": tf.function(same.strings, [text]).get_concrete_function(),
        "numbers": tf.function(same.numbers).get_concrete_function(**numbers),
        "words": tf.function(same.words, [spec((None,), tf.string, name="text")]),
    }
    tf.saved_model.save(same, str(folder), signatures)
    return folder


@pytest.fixture(scope="module")
def session(version):
    with Session(version) as session:
        yield session


def test_signatures_are_read(session):
    assert sorted(session.signatures) == ["numbers", "strings", "words"]
    found = session.signatures["strings"]
    (given,) = found.inputs.values()
    assert given == Tensor("strings_text:0", tf.string.as_datatype_enum, (None, 2))
    assert found.outputs["length"].dtype == tf.int32.as_datatype_enum
    assert session.signatures["words"].outputs["words"].shape == (None, None)
    assert session.operations == ["TFText>WhitespaceTokenizeWithOffsetsV2"]


def test_strings_go_in_and_out(session):
    rows = [[text, "b"] for text in STRINGS] * 100  # many, and freed twice would crash
    for _ in range(3):
        found = session.run("strings", {"text": rows})
    encoded = [[x if isinstance(x, bytes) else x.encode() for x in row] for row in rows]
    assert found["text"].tolist() == encoded
    assert found["doubled"].tolist() == [[x * 2 for x in row] for row in encoded]
    assert found["length"].tolist() == [[len(x) for x in row] for row in encoded]


def test_numbers_go_in_and_out(session):
    given = {name: np.array([[1, 2, 3], [4, 5, 200]], dtype) for name, dtype in DTYPES.items()}
    for inputs in (given, {name: array.tolist() for name, array in given.items()}):
        found = session.run("numbers", inputs)
        for name, array in given.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
        assert found["truth"].tolist() == [[False, True, False], [False, False, False]]
    np.testing.assert_array_equal(
        session.run("numbers", {name: array[:, ::-1] for name, array in given.items()})["int"],
        given["int"][:, ::-1],  # not contiguous
    )


def test_empty_batches(session):
    assert session.run("strings", {"text": np.empty((0, 2), object)})["length"].shape == (0, 2)
    found = session.run("numbers", {name: np.empty((0, 3)) for name in DTYPES})
    assert {name: array.shape for name, array in found.items()} == dict.fromkeys(found, (0, 3))
    assert session.run("words", {"text": []})["words"].shape == (0, 0)


def test_it_says_what_pythons_tensorflow_says(exported_translator, translator):
    texts = ["bca", "", "äx"]
    signatures = tf.saved_model.load(str(exported_translator)).signatures
    with Session(exported_translator) as session:
        for name in ("serving_default", "details"):
            expected = signatures[name](text=tf.constant(texts))
            found = session.run(name, {"text": texts})
            assert set(found) == set(expected)
            for each, array in found.items():
                if array.dtype == object:
                    np.testing.assert_array_equal(array, expected[each].numpy())
                else:
                    np.testing.assert_allclose(array, expected[each].numpy(), atol=1e-6)


@pytest.fixture(scope="module")
def exported_translator(translator, tmp_path_factory):
    from keras_attention.export.saved_model.writer import write_saved_model

    folder = tmp_path_factory.mktemp("translator")
    write_saved_model(translator, folder)
    return folder


@pytest.mark.parametrize(
    ("signature", "inputs", "said"),
    [
        ("other", {}, "signature: expected one of .*'words'.* Received: signature='other'"),
        ("words", {"ids": ["a"]}, r"inputs: expected \['text'\]. Received: \['ids'\]"),
        ("words", {"text": "a"}, r"text: expected strings of shape \(None,\). Received: .* 'a'"),
        ("words", {"text": [1]}, r"text: expected strings of shape .* Received: .*\[1\]"),
        ("words", {"text": [["a"]]}, r"text: expected strings of .* of shape \(1, 1\)"),
    ],
)
def test_inputs_that_are_not_the_signatures(session, signature, inputs, said):
    with pytest.raises(ValueError, match=said):
        session.run(signature, inputs)


@pytest.mark.parametrize("value", [256, 1.5, "1"])
def test_numbers_that_do_not_fit(session, value):
    inputs = {name: np.zeros((1, 3)) for name in DTYPES} | {"byte": [[0, value, 0]]}
    with pytest.raises(ValueError, match="byte: expected uint8 of shape .* Received: "):
        session.run("numbers", inputs)


def test_no_saved_model(tmp_path):
    with pytest.raises(ValueError, match="version: expected a SavedModel .* Could not find"):
        Session(tmp_path)


def test_alone_in_a_process(version, tmp_path):
    """Python's TensorFlow is not imported, and cannot be."""
    calls = [
        {"signature": "words", "inputs": {"text": ["a bb", {"b64": "YwDDpA=="}]}, "timed": True},
        {"signature": "words", "inputs": {"text": []}, "timed": False},
    ]
    (tmp_path / "calls").write_text(json.dumps(calls))
    command = [sys.executable, "-P", run_saved_model.__file__]
    subprocess.run([*command, version, tmp_path / "calls", tmp_path / "answers"], check=True)
    answers = json.loads((tmp_path / "answers").read_text())
    words = [{"words": [["a", "bb"], ["c\0ä", ""]]}, {"words": []}]
    assert answers["outputs"] == words
    assert len(answers["milliseconds"]) == 1 and answers["milliseconds"][0] > 0
    assert answers["operations"] == ["TFText>WhitespaceTokenizeWithOffsetsV2"]
    assert not {*run_saved_model.ABSENT} & {*answers["imported"]}
    assert {"c_api", "numpy"} < {*answers["imported"]}


def test_operations_that_are_not_there(version):
    """In a process of its own: here tensorflow-text's are there already."""
    folder = run_saved_model.__file__.rpartition("/")[0]
    code = (
        f"import sys; sys.path.insert(0, {folder!r})\n"
        f"import c_api; c_api.Session({str(version)!r}, libraries=())"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "ValueError: version: expected a SavedModel of operations that are there"
    )
    assert "TFText>WhitespaceTokenizeWithOffsetsV2" in last
