"""Saved tasks and exports are loaded as tasks of their class."""

import shutil
import subprocess
import sys

import pytest
import tensorflow as tf

from keras_attention.generation import GreedySearch
from keras_attention.tasks import (
    ModelRunner,
    TextClassifier,
    TextTagger,
    Translator,
    load_exported,
    load_task,
)
from keras_attention.utils.manifest import write_manifest

pytestmark = pytest.mark.tensorflow_only
TEXTS = ["bca", "", "x", "deed cab"]


@pytest.mark.parametrize(("kind", "expected"), [("label", TextClassifier), ("tags", TextTagger)])
def test_load_task_returns_the_saved_class(make_labeler, tmp_path, kind, expected):
    task = make_labeler(kind, ["a", "b"])
    task.save(tmp_path / "task")
    loaded = load_task(tmp_path / "task")
    assert type(loaded) is expected
    assert loaded(["abc", "de"]) == task(["abc", "de"])


def test_load_task_of_an_unknown_class_raises(tmp_path):
    write_manifest(tmp_path / "task.json", {"task": "Juggler"})
    with pytest.raises(
        ValueError, match=r"one of the tasks \['Captioner', .* Received: .* with 'Jugg"
    ):
        load_task(tmp_path)


@pytest.fixture(scope="module")
def exports(saved_model, tflite, tmp_path_factory):
    """Folders of a SavedModel, with an older version, and of a TFLite export."""
    folder = shutil.copytree(saved_model.folder, tmp_path_factory.mktemp("exports") / "new")
    (folder / "0").mkdir()
    return folder, tflite.folder


@pytest.mark.slow
def test_an_export_is_the_same_task_with_another_runner(exports, translator):
    expected = translator.generate(TEXTS)
    for folder in (*exports, exports[0] / "1"):
        task = load_exported(folder)
        assert type(task) is Translator and not isinstance(task.runner, ModelRunner)
        results = task.generate(TEXTS, batch_size=3)
        assert [[a.text for a in row] for row in results] == [
            [a.text for a in row] for row in expected
        ]
        assert results[1][0].score == pytest.approx(expected[1][0].score, rel=1e-5)
        assert task(TEXTS) == [row[0].text for row in expected]
        bulk = task.predict_iterable(iter(TEXTS), 2, window_size=3, workers=2)
        assert [row[0].text for row in bulk] == task(TEXTS)
        assert task("bca") == expected[0][0].text
        assert task([]) == []
        alignment = task.attention("bca")
        assert alignment.target == translator.attention("bca").target
        assert alignment.weights.shape == (len(alignment.target), 4)


def test_what_needs_the_model_raises(exports, tmp_path):
    for folder in exports:
        task = load_exported(folder)
        for name, use in {
            "model": lambda task: task.model,
            "strategy": lambda task: task.strategy,
            "save": lambda task: task.save(tmp_path / "new"),
            "export": lambda task: task.export(tmp_path / "new"),
            "signatures": lambda task: task.signatures(),
        }.items():
            with pytest.raises(ValueError, match=f"`{name}` needs the Keras model.* Received: run"):
                use(task)
        with pytest.raises(ValueError, match="`strategy` needs the Keras model"):
            task.strategy = GreedySearch()
    assert not (tmp_path / "new").exists()


def test_a_folder_without_export_raises(tmp_path):
    (tmp_path / "1").mkdir()
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=r"must be a SavedModel, .* Received: '"):
            load_exported(folder)


def test_the_saved_model_of_another_library_raises(tmp_path):
    module = tf.Module()
    module.f = tf.function(lambda x: x, input_signature=[tf.TensorSpec((), tf.float32)])
    tf.saved_model.save(module, str(tmp_path))
    with pytest.raises(ValueError, match="verification.json"):
        load_exported(tmp_path)


def test_the_tflite_file_of_another_library_raises(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"")
    with pytest.raises(ValueError, match="verification.json"):
        load_exported(tmp_path)
    (tmp_path / "export.json").write_text('{"export": "tflite", "format": 0}')
    write_manifest(tmp_path / "verification.json", {})
    with pytest.raises(ValueError, match="tflite export of format 2. Received: .* format=0"):
        load_exported(tmp_path)


@pytest.mark.slow
def test_tasks_are_imported_without_exporters():
    code = """
import sys
import tensorflow, tensorflow_text
before = set(sys.modules)
import keras_attention.tasks
new = set(sys.modules) - before
unwanted = ("ai_edge_litert", "flatbuffers", "keras_attention.export", "fcntl")
print([name for name in new if name.startswith(unwanted)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("task", [Translator, TextClassifier, TextTagger])
def test_tasks_have_few_base_classes(task):
    ours = [each for each in task.__mro__ if each.__module__.startswith("keras_attention")]
    assert len(ours) <= 3
    assert all(len(each.__bases__) == 1 for each in ours)
