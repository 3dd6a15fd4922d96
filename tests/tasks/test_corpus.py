"""Outputs of several files by worker processes of Ray."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_attention.tasks import predict_files
from keras_attention.tasks.corpus import FileWorker

LINES = ["ab", "c", "abc ab", "", "b", "ca", "a", "bb", "cc ab"]


def no_task():
    raise AssertionError("No file is missing.")


@pytest.fixture
def sources(tmp_path):
    paths = [tmp_path / f"part-{number}.txt" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_text("".join(f"{line}\n" for line in LINES[number:]))
    return paths


@pytest.mark.slow
def test_outputs_are_complete_after_a_worker_is_killed(translator, sources, tmp_path):
    translator.save(tmp_path / "task")
    marker, folder = tmp_path / "marker", tmp_path / "outputs"
    marker.touch()
    paths = [str(Path(__file__).parents[2]), *sys.path]
    done = subprocess.run(
        [
            sys.executable,
            Path(__file__).with_name("predict_corpus.py"),
            *(tmp_path / "task", folder, marker, *sources),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert not done.returncode, done.stderr
    assert not marker.exists()
    # nothing else is there: the killed worker's temporary folder is removed
    assert sorted(path.name for path in folder.iterdir()) == [path.name for path in sources]
    expected = translator(LINES)
    for number, path in enumerate(sources):
        assert (folder / path.name).read_text().split("\n") == [*expected[number:], ""]


def test_files_with_an_output_are_skipped(sources, tmp_path):
    folder = tmp_path / "outputs"
    folder.mkdir()
    for path in sources:
        (folder / path.name).write_text("done\n")
    assert predict_files(no_task, sources, folder) == [folder / path.name for path in sources]
    assert (folder / sources[0].name).read_text() == "done\n"


def test_outputs_must_have_different_names(tmp_path):
    with pytest.raises(ValueError, match=r"`sources` must have different names.*Received"):
        predict_files(no_task, ["a/x.txt", "b/x.txt.gz"], tmp_path)


def test_outputs_do_not_replace_sources(tmp_path):
    with pytest.raises(ValueError, match="`folder` must not be that of a source"):
        predict_files(no_task, [tmp_path / "x.txt"], tmp_path)


def test_error_names_the_file(translator, tmp_path):
    """The function that a worker runs, in this process."""
    source = tmp_path / "latin1.txt"
    source.write_bytes("ä\n".encode("latin-1"))
    worker = FileWorker(lambda: translator, {})
    row = worker({"source": str(source), "output": str(tmp_path / "outputs" / "latin1.txt")})
    assert f"The text of '{source}' must be UTF-8. Received: line 1" in row["error"]
    assert not (tmp_path / "outputs" / "latin1.txt").exists()


def test_output_lines_are_those_of_the_task(translator, sources, tmp_path):
    output = tmp_path / "outputs" / "part.txt"
    worker = FileWorker(lambda: translator, {"batch_size": 4})
    assert worker({"source": str(sources[0]), "output": str(output)})["error"] == ""
    assert output.read_text().split("\n") == [*translator(LINES), ""]
