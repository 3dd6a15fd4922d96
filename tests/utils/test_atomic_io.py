import json
import os
import sys

import pytest

from keras_attention.utils import atomic_io
from keras_attention.utils.atomic_io import (
    check_replaceable,
    read_json,
    remove_abandoned,
    replace_file,
    replace_folder,
    write_json,
)


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


def test_folders_of_killed_processes_are_removed(tmp_path):
    """A process that was killed no longer holds the lock of its temporary folder."""
    for name in (".b.new-dead", ".b.old-dead", ".b.unfinished", ".bc.new-other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("1")
    with replace_folder(tmp_path / "b"):
        pass
    assert names(tmp_path) == [".b.unfinished", ".bc.new-other", "b"]


def test_folders_of_living_processes_are_not_removed(tmp_path):
    with replace_folder(tmp_path / "b") as one:
        (one / "file").write_text("1")
        with replace_folder(tmp_path / "b") as two:
            (two / "file").write_text("2")
        assert (one / "file").read_text() == "1"
        assert (tmp_path / "b" / "file").read_text() == "2"
    assert (tmp_path / "b" / "file").read_text() == "1"
    assert names(tmp_path) == ["b"]


def test_old_version_that_was_moved_away_comes_back(tmp_path):
    """The state after a kill between the two renames on systems without an exchange."""
    for name in (".b.new-dead", ".b.old-dead/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text(name)
    remove_abandoned(tmp_path / "b")
    assert names(tmp_path) == ["b"]
    assert (tmp_path / "b" / "file").read_text() == ".b.old-dead/b"


def test_files_are_flushed_before_the_folder_gets_its_name(tmp_path, monkeypatch):
    flushed = []
    fsync = os.fsync

    def record(descriptor):
        flushed.append((os.readlink(f"/proc/self/fd/{descriptor}"), (tmp_path / "b").exists()))
        fsync(descriptor)

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("only Linux names open files")
    monkeypatch.setattr(os, "fsync", record)
    with replace_folder(tmp_path / "b") as new:
        (new / "folder").mkdir()
        (new / "folder" / "file").write_text("1")
    expected = {new, new / "folder", new / "folder" / "file"}
    assert {path for path, exists in flushed if not exists} == set(map(str, expected))
    assert flushed[-1] == (str(tmp_path), True)


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
    for name in ("b.json", "c.json", "d.json"):
        with pytest.raises(ValueError, match=f"Expected a JSON file .* Received: .*{name}"):
            read_json(tmp_path / name)
    for name in ("none.json", ""):
        with pytest.raises(ValueError, match=f"must be readable. Received: .*{name}"):
            read_json(tmp_path / name)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))


def test_replaces_a_file_and_follows_a_link(tmp_path):
    path, link = tmp_path / "new" / "output", tmp_path / "link"
    with replace_file(path) as partial:
        partial.write_text("1")
        assert not path.exists()
    link.symlink_to(path)
    with replace_file(link) as partial:
        partial.write_text("2")
        assert path.read_text() == "1"
    assert link.is_symlink() and path.read_text() == "2"
    assert names(path.parent) == ["output"]


@pytest.mark.parametrize("old", [True, False])
def test_an_unfinished_file_does_not_get_its_name(tmp_path, old):
    path = tmp_path / "output"
    if old:
        path.write_text("0")
    with pytest.raises(RuntimeError), replace_file(path) as partial:
        partial.write_text("1")
        raise RuntimeError
    left = tmp_path / ".output.new-killed"
    left.mkdir()
    (left / "partial").write_text("1")
    remove_abandoned(path)
    assert names(tmp_path) == (["output"] if old else [])
    assert not old or path.read_text() == "0"


def test_a_file_does_not_replace_a_folder_or_a_device(tmp_path):
    for path in (tmp_path, os.devnull):
        with pytest.raises(ValueError, match=r"`path` must be a file or not exist. Received: pa"):
            with replace_file(path):
                pass
