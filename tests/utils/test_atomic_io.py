import json
import os
import sys

import pytest

from keras_attention import folders
from keras_attention.utils.atomic_io import check_replaceable, read_json, replace_folder, write_json


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_folder_and_its_parents(tmp_path):
    with replace_folder(tmp_path / "a" / "b") as new:
        assert not (tmp_path / "a" / "b").exists()
        (new / "file").write_text("1")
    assert (tmp_path / "a" / "b" / "file").read_text() == "1"
    assert names(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("at_one_stroke", [True, False])
def test_the_old_folder_is_replaced_whole(tmp_path, monkeypatch, at_one_stroke):
    if at_one_stroke and sys.platform != "linux":
        pytest.skip("only Linux exchanges two folders")
    if at_one_stroke:
        monkeypatch.setattr(os, "rename", None)  # what has a moment without a folder
    else:
        monkeypatch.setattr(folders, "_exchange", lambda *_: False)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old").write_text("0")
    with replace_folder(tmp_path / "b") as new:
        (new / "file").write_text("1")
        assert names(tmp_path / "b") == ["old"]
    assert names(tmp_path / "b") == ["file"]
    assert names(tmp_path) == ["b"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [True, False])
def test_a_block_that_fails_changes_nothing(tmp_path, old, error):
    if old:
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "old").write_text("0")
    with pytest.raises(error), replace_folder(tmp_path / "b") as new:
        (new / "file").write_text("1")
        raise error
    assert names(tmp_path) == (["b"] if old else [])
    if old:
        assert names(tmp_path / "b") == ["old"]


def test_a_rename_that_fails_brings_the_old_folder_back(tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old").write_text("0")
    rename = os.rename
    monkeypatch.setattr(folders, "_exchange", lambda *_: False)

    def fails(source, destination):
        if os.path.exists(os.path.join(source, "new")):
            raise OSError("no")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(OSError), replace_folder(tmp_path / "b") as new:
        (new / "new").write_text("1")
    assert names(tmp_path) == ["b"] and names(tmp_path / "b") == ["old"]


def test_a_link_is_replaced_not_what_it_leads_to(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old").write_text("0")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    with replace_folder(tmp_path / "link") as new:
        (new / "file").write_text("1")
    assert names(tmp_path) == ["b", "link"] and names(tmp_path / "link") == ["file"]
    assert names(tmp_path / "b") == ["old"]


def test_others_may_read_it_as_any_folder(tmp_path):
    with replace_folder(tmp_path / "b"):
        pass
    (tmp_path / "c").mkdir()
    assert (tmp_path / "b").stat().st_mode == (tmp_path / "c").stat().st_mode


def test_what_may_be_replaced(tmp_path):
    check_replaceable(tmp_path / "none", "mark")
    check_replaceable(tmp_path, "mark")
    (tmp_path / "letters").write_text("dear")
    with pytest.raises(ValueError, match="one with mark. Received: .* holds something else"):
        check_replaceable(tmp_path, "mark")
    with pytest.raises(ValueError, match="Received: .*letters"):
        check_replaceable(tmp_path / "letters", "mark")
    (tmp_path / "mark").write_text("")
    check_replaceable(tmp_path, "mark")


def test_json(tmp_path):
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
