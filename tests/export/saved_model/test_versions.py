"""Versions are created atomically: killed exports, full disks, concurrent exports."""

import errno
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keras_attention.export import ExportError
from keras_attention.export.saved_model.versions import new_version
from keras_attention.tasks import load_exported


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_publishing_moves_the_other_files_and_keeps_existing_configurations(tmp_path):
    for number in (1, 2):
        with new_version(tmp_path, 0) as (version, finish):
            (version / "model").write_text(str(number))
            (version.parent / "serving.md").write_text(str(number))
            (version.parent / "model.config").write_text(str(number))
            assert finish() == tmp_path / str(number)
        assert names(tmp_path) == [*"12"[:number], "model.config", "serving.md"]
    assert (tmp_path / "2" / "model").read_text() == "2"
    assert (tmp_path / "serving.md").read_text() == "2"
    assert (tmp_path / "model.config").read_text() == "1"


def test_abandoned_folders_are_removed_and_those_in_use_are_not(tmp_path):
    (tmp_path / ".writing-abandoned" / "version").mkdir(parents=True)
    (tmp_path / ".mine").mkdir()
    with new_version(tmp_path, 0) as (first, finish_first):
        assert names(tmp_path) == [".mine", first.parent.name]
        with new_version(tmp_path, 0) as (second, finish_second):
            assert names(tmp_path) == sorted([".mine", first.parent.name, second.parent.name])
            assert finish_second().name == "1"
        assert finish_first().name == "2"
    assert names(tmp_path) == [".mine", "1", "2"]


KILLED_EXPORT = """
import importlib.util, os, signal, sys
spec = importlib.util.spec_from_file_location("small", {conftest!r})
small = importlib.util.module_from_spec(spec)
spec.loader.exec_module(small)
from keras_attention.export.saved_model import writer as saved_model

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

task, rename = small.small_translator(), os.rename

def patched_rename(old, new):
    {rename}

os.rename = patched_rename
if {moment!r} == "writing":  # some files are written, others are not
    saved_model.write_json = kill
task.export({folder!r}, "saved_model", ["ab"])
"""
MOMENTS = {
    "before the rename": "kill()",
    "after the rename": "rename(old, new); kill()",
    "writing": "rename(old, new)",
}


@pytest.mark.slow(cases=2)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_export_leaves_no_incomplete_version(translator, saved_model, tmp_path, moment):
    shutil.copytree(saved_model.folder / "1", tmp_path / "1")
    code = KILLED_EXPORT.format(
        conftest=str(Path(__file__).parents[2] / "exports.py"),
        rename=MOMENTS[moment],
        moment=moment,
        folder=str(tmp_path),
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr[-2000:]
    left, *numbers = names(tmp_path)
    assert left.startswith(".writing-")
    assert numbers == (["1", "2"] if moment == "after the rename" else ["1"])
    if moment == "writing":
        assert (tmp_path / left / "version" / "saved_model.pb").is_file()
    for number in numbers:  # each numbered version is complete
        assert load_exported(tmp_path / number)(["bca"]) == translator(["bca"])
    with new_version(tmp_path, 0):  # as the next export does
        assert left not in names(tmp_path)


def test_the_error_of_a_full_disk_names_the_size_needed(tmp_path):
    message = r"SavedModel of at least 12.3 MB needs free space in .*Received: .*No space left"
    with pytest.raises(ExportError, match=message), new_version(tmp_path / "new", 12_345_678):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_other_errors_are_raised_unchanged(tmp_path):
    with pytest.raises(PermissionError), new_version(tmp_path / "new", 0):
        raise PermissionError(errno.EACCES, "not yours")
    assert names(tmp_path) == []
