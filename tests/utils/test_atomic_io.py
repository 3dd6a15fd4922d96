import json
import os
import sys

import pytest

from keras_attention.utils import atomic_io
from keras_attention.utils.atomic_io import check_replaceable, read_json, replace_folder, write_json


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_creates_a_new_folder_and_its_parents(tmp_path):
    with replace_folder(tmp_path / "a" / "b") as new:
        assert not (tmp_path / "a" / "b").exists()
        (new / "file").write_text("1")
    assert (tmp_path / "a" / "b" / "file").read_text() == "1"
    assert names(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("atomic", [True, False])
def test_replaces_the_old_folder(tmp_path, monkeypatch, atomic):
    if atomic and sys.platform != "linux":
        pytest.skip("only Linux exchanges two folders atomically")
    if atomic:
        monkeypatch.setattr(os, "rename", None)  # a rename would leave a moment without the folder
    else:
        monkeypatch.setattr(atomic_io, "_exchange", lambda *_: False)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old").write_text("0")
    with replace_folder(tmp_path / "b") as new:
        (new / "file").write_text("1")
        assert names(tmp_path / "b") == ["old"]
    assert names(tmp_path / "b") == ["file"]
    assert names(tmp_path) == ["b"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [True, False])
def test_a_failing_block_changes_nothing(tmp_path, old, error):
    if old:
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "old").write_text("0")
    with pytest.raises(error), replace_folder(tmp_path / "b") as new:
        (new / "file").write_text("1")
        raise error
    assert names(tmp_path) == (["b"] if old else [])
    if old:
        assert names(tmp_path / "b") == ["old"]


def test_restores_the_old_folder_when_the_rename_fails(tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old").write_text("0")
    rename = os.rename
    monkeypatch.setattr(atomic_io, "_exchange", lambda *_: False)

    def fails(source, destination):
        if os.path.exists(os.path.join(source, "new")):
            raise OSError("no")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(OSError), replace_folder(tmp_path / "b") as new:
        (new / "new").write_text("1")
    assert names(tmp_path) == ["b"] and names(tmp_path / "b") == ["old"]


def test_replaces_a_symbolic_link_and_not_its_target(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old").write_text("0")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    with replace_folder(tmp_path / "link") as new:
        (new / "file").write_text("1")
    assert names(tmp_path) == ["b", "link"] and names(tmp_path / "link") == ["file"]
    assert names(tmp_path / "b") == ["old"]


def test_the_new_folder_has_the_usual_permissions(tmp_path):
    with replace_folder(tmp_path / "b"):
        pass
    (tmp_path / "c").mkdir()
    assert (tmp_path / "b").stat().st_mode == (tmp_path / "c").stat().st_mode


def test_check_replaceable(tmp_path):
    check_replaceable(tmp_path / "none", "marker")
    check_replaceable(tmp_path, "marker")
    (tmp_path / "letters").write_text("dear")
    with pytest.raises(ValueError, match="new, empty, or contain marker.* Received: folder="):
        check_replaceable(tmp_path, "marker")
    with pytest.raises(ValueError, match="Received: .*letters"):
        check_replaceable(tmp_path / "letters", "marker")
    (tmp_path / "marker").write_text("")
    check_replaceable(tmp_path, "marker")


def test_write_and_read_json(tmp_path):
    write_json(tmp_path / "a.json", {"ä": [1, None]})
    assert read_json(tmp_path / "a.json") == {"ä": [1, None]}
    assert "ä" in (tmp_path / "a.json").read_text(encoding="utf-8")
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.json").write_bytes(b"\xff")
    (tmp_path / "d.json").write_text("[]")
    for name in ("none.json", "b.json", "c.json", "d.json", ""):
        with pytest.raises(ValueError, match="Expected a JSON file .* Received: "):
            read_json(tmp_path / name)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
