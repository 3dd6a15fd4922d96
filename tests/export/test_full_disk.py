"""A full disk ends an export or a save in one error that says where, and leaves nothing."""

import contextlib
import resource
import subprocess
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.tensorflow_only


@contextlib.contextmanager
def small_disk(folder):
    """A file system of 4 kB."""
    ran = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)])
    if ran.returncode:
        pytest.skip("mounting a small file system is not permitted")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def small_files(_):
    """No file may have more than 4,000 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


WRITERS = {
    "SavedModel": lambda task, folder: task.export(folder, "saved_model", ["ab"]),
    "TFLite export": lambda task, folder: task.export(folder, "tflite", ["ab"]),
    "saved task": lambda task, folder: task.save(folder),
}


@pytest.fixture(scope="module")
def task(make_labeler):
    return make_labeler("label", ["a", "b"])


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("what", WRITERS)
@pytest.mark.parametrize("limit", [small_disk, small_files])
def test_a_full_destination(task, what, limit):
    with tempfile.TemporaryDirectory() as folder, limit(folder):
        destination = Path(folder, "new")
        with pytest.raises((OSError, ValueError)) as caught:
            WRITERS[what](task, destination)
        message = str(caught.value)
        assert message.startswith("A ") and what in message and "\n" not in message
        assert f"needs free space in {str(destination)!r} and, for temporary files," in message
        assert list(Path(folder).iterdir()) == []


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("what", ["SavedModel", "TFLite export"])
def test_a_full_folder_of_temporary_files(task, what, tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "out" / "1").mkdir(parents=True)  # an earlier version
    with small_disk(tmp_path / "scratch"):
        with pytest.raises(ValueError, match=what) as caught:
            WRITERS[what](task, tmp_path / "out" / ("." if what == "SavedModel" else "new"))
        message = str(caught.value)
        assert f"for temporary files, in '{tmp_path}/scratch'. Received: " in message
        assert "\n" not in message
        assert list((tmp_path / "scratch").iterdir()) == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1"]
