"""Versions that appear, disappear and cannot be loaded while a model is served."""

import shutil
from pathlib import Path

import pytest

from keras_attention.export.saved_model.serving_files import read_warmup_requests
from keras_attention.serving import RequestError, ServedModel

pytestmark = pytest.mark.tensorflow_only
DATES = Path(__file__).parents[2] / "saved_models" / "dates" / "1"


def write_version(folder):
    """Writes a SavedModel that adds 1."""
    import tensorflow as tf

    module = tf.Module()
    module.add_one = tf.function(lambda x: {"y": x + 1.0}, [tf.TensorSpec((None,), name="x")])
    tf.saved_model.save(module, str(folder), {"serving_default": module.add_one})


def states(model):
    return {each["version"]: each["state"] for each in model.status()["model_version_status"]}


def test_new_versions_replace_old_ones(tmp_path):
    write_version(tmp_path / "1")
    model = ServedModel(tmp_path, name="dates")
    with model.session() as (number, old):
        assert number == 1
        write_version(tmp_path / "2")
        model.refresh()
        assert states(model) == {"2": "AVAILABLE"}
        assert old.run("serving_default", {"x": [1.0]})["y"].tolist() == [2.0]
    with pytest.raises(ValueError, match="a session that was closed"):
        old.run("serving_default", {"x": [1.0]})

    (tmp_path / "3").mkdir()  # not a SavedModel
    model.refresh()
    assert states(model) == {"3": "END", "2": "AVAILABLE"}
    with model.session() as (number, _):
        assert number == 2
    shutil.rmtree(tmp_path / "3")
    shutil.rmtree(tmp_path / "2")
    model.refresh()
    assert states(model) == {"1": "AVAILABLE"}
    shutil.rmtree(tmp_path / "1")
    model.refresh()  # as TensorFlow Serving, which serves the last version that it had
    assert states(model) == {"1": "AVAILABLE"}
    model.close()
    with pytest.raises(RequestError, match=r"Latest\(dates\)"), model.session():
        pass


def test_folders_that_cannot_be_served(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match="numbered versions .* Received: folder="):
            ServedModel(folder)
    (tmp_path / "1").mkdir()
    with pytest.raises(ValueError, match="must be the folder of a SavedModel"):
        ServedModel(tmp_path)
    with pytest.raises(ValueError, match=r"those with a label. Received: .*labels={'new': 2}"):
        ServedModel(tmp_path, labels={"new": 2})


def test_warmup_requests_are_those_of_the_signatures():
    requests = dict(read_warmup_requests(DATES))
    assert {"serving_default", "details", "with_options", "ids"} <= requests.keys()
    (text, *_) = requests["serving_default"]["text"]
    assert text.decode() == "31.12.2046 г."
    assert requests["with_options"]["max_new_tokens"].dtype == "int32"
