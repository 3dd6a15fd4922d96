"""Damaged and hostile files of saved tasks are refused before memory is allocated."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

from keras_attention.generation import GreedySearch
from keras_attention.models import seq2seq
from keras_attention.tasks import Translator, load_task
from keras_attention.text import CharacterTokenizer
from keras_attention.utils.limits import limits
from keras_attention.utils.manifest import DIGESTS, OWN_DIGEST, write_manifest


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The files of a task, by their paths in its folder."""
    folder = tmp_path_factory.mktemp("saved") / "task"
    tokenizer = CharacterTokenizer.train(["abc"])
    size = tokenizer.vocabulary_size
    task = Translator(seq2seq(size, size, 4, 4), tokenizer, tokenizer, GreedySearch(5))
    task.save(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def folder(saved, tmp_path):
    for name, content in saved.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def seal(folder):
    """Writes the digests in `task.json` anew, as one can who changes a file on purpose."""
    path = folder / "task.json"
    content = json.loads(path.read_bytes())
    del content[DIGESTS], content[OWN_DIGEST]
    write_manifest(path, content)


def change_archive(path, change, compression=zipfile.ZIP_STORED):
    """Changes the members of a `.keras` file, a dictionary of bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    seal(path.parent)


def change_weights(path, change):
    """Changes the `.weights.h5` file in a `.keras` file."""

    def change_member(members):
        file = io.BytesIO(members["model.weights.h5"])
        with h5py.File(file, "r+") as weights:
            change(weights)
        members["model.weights.h5"] = file.getvalue()

    change_archive(path, change_member)


def first_array(weights):
    """Returns the name of the first array, of any depth."""
    return weights.visititems(lambda name, item: name if hasattr(item, "shape") else None)


def test_undamaged_files_load(folder):
    assert load_task(folder).strategy.max_new_tokens == 5


def test_missing_truncated_and_foreign_models(folder):
    path = folder / "model.keras"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-30], b"", b"no archive"):
        path.write_bytes(content)
        seal(folder)
        with pytest.raises(ValueError, match=r"a complete Keras model. Received: '.*model\.keras'"):
            load_task(folder)
    path.unlink()
    seal(folder)
    with pytest.raises(ValueError, match=r"must contain model\.keras. Received: "):
        load_task(folder)


def test_compressed_models_are_refused(folder):
    change_archive(folder / "model.keras", lambda members: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="is compressed"):
        load_task(folder)


def test_model_must_not_be_larger_than_its_weights(folder):
    def change(members):
        config = members["config.json"].decode()
        members["config.json"] = config.replace(
            '"vocabulary_size": 7', f'"vocabulary_size": {10**8}'
        )

    change_archive(folder / "model.keras", change)
    with pytest.raises(ValueError, match="describes variables of .* bytes, more than"):
        load_task(folder)


def compress(weights):
    name = first_array(weights)
    del weights[name]
    weights.create_dataset(name, data=np.zeros(10**6, "float32"), compression="gzip")


def claim(weights):
    name = first_array(weights)
    del weights[name]
    weights.create_dataset(name, shape=(10**9,), dtype="float32")  # nothing is written


def link(weights):
    weights["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")


def store_elsewhere(weights):
    weights.create_dataset("x", (4,), "uint8", external=[("/etc/passwd", 0, 4)])


def set_nan(weights):
    def fill(name, item):
        if hasattr(item, "shape") and item.dtype.kind == "f":
            item[...] = np.nan

    weights.visititems(fill)


@pytest.mark.parametrize(
    "change, message",
    [
        (compress, "incomplete or compressed"),
        (claim, "incomplete or compressed"),
        (link, "contain a link"),
        (store_elsewhere, "which is no array"),
        (set_nan, "NaN or infinite values"),
    ],
)
def test_weights(folder, change, message):
    change_weights(folder / "model.keras", change)
    with pytest.raises(ValueError, match=rf"model\.keras.*{message}"):
        load_task(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"task": ["Translator"]},
        {"task": "TextClassifier"},
        {"max_source_length": 10**9},
        {"max_source_length": "128"},
        {"strategy": None},
        {"strategy": {"class_name": "Dense", "config": {"units": 1}, "module": "keras.layers"}},
        {"strategy": {"class_name": "system", "module": "os", "config": "true"}},
    ],
)
def test_damaged_configurations(folder, change):
    path = folder / "task.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    seal(folder)
    with pytest.raises(ValueError, match=f"Received: .*{folder.name}"):
        load_task(folder)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_new_tokens": 10**9}, "`max_new_tokens` must be at most 4096"),
        ({"max_new_tokens": 5.5}, "`max_new_tokens` has a value"),
        ({"suppress_tokens": [10**9]}, "`suppress_tokens` has a value"),
        ({"length_ratio": "x"}, "Received"),
        ({"unknown": 1}, "Received"),
    ],
)
def test_damaged_strategies(folder, options, message):
    path = folder / "task.json"
    content = json.loads(path.read_text())
    content["strategy"]["config"] |= options
    path.write_text(json.dumps(content))
    seal(folder)
    with pytest.raises(ValueError, match=message):
        load_task(folder)


def test_cache_is_estimated(folder, monkeypatch):
    monkeypatch.setattr(limits, "cache_bytes", 50)
    with pytest.raises(ValueError, match="at most 50 bytes for an input.* Received: "):
        load_task(folder)
