"""Tests of the Flickr8k reader on a generated folder, damaged copies of it, and the real data."""

import re

import pytest

from keras_attention.datasets import flickr8k as module
from keras_attention.datasets.flickr8k import flickr8k

CAPTIONS = """\
b_2.jpg#0\tA dog runs .
b_2.jpg#2\tA dog 's ball # 1 .
b_2.jpg#1\t Two dogs\tplay 
a_1.jpg#0\tA girl , é .
c_3.jpg#0\tIn no list .
"""


@pytest.fixture
def folder(tmp_path):
    """Photographs a, b (train: b, a; dev: a) and captions of a third one in no split."""
    (tmp_path / "Flicker8k_Dataset").mkdir()
    for name in ("a_1.jpg", "b_2.jpg"):
        (tmp_path / "Flicker8k_Dataset" / name).write_bytes(b"not opened")
    (tmp_path / "Flickr8k.token.txt").write_text(CAPTIONS, encoding="utf-8")
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("b_2.jpg\na_1.jpg\n")
    (tmp_path / "Flickr_8k.devImages.txt").write_text("a_1.jpg")
    return tmp_path


def test_split_keeps_the_order_of_its_file(folder):
    photographs = folder / "Flicker8k_Dataset"
    assert flickr8k(str(folder)) == [
        (photographs / "b_2.jpg", ["A dog runs .", "Two dogs\tplay", "A dog 's ball # 1 ."]),
        (photographs / "a_1.jpg", ["A girl , é ."]),
    ]
    (only,) = flickr8k(folder, split="dev")
    assert only.image == photographs / "a_1.jpg"
    assert only.captions == ["A girl , é ."]


def test_windows_line_endings(folder):
    before = flickr8k(folder)
    for name in ("Flickr8k.token.txt", "Flickr_8k.trainImages.txt"):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_bytes(text.replace("\n", "\r\n").encode())
    assert flickr8k(folder) == before


@pytest.mark.parametrize("name", ["Flickr8k.token.txt", "Flickr_8k.trainImages.txt"])
def test_missing_file_is_reported(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"Received: .*{re.escape(str(folder / name))}$"):
        flickr8k(folder)


def test_missing_folder_is_reported(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="Received: .*nowhere"):
        flickr8k(tmp_path / "nowhere")
    (folder / "Flicker8k_Dataset").rename(folder / "Flickr8k_Dataset")
    with pytest.raises(FileNotFoundError, match="folder of photographs.*/Flicker8k_Dataset$"):
        flickr8k(folder)


def test_photograph_without_caption_is_reported(folder):
    (folder / "Flickr_8k.devImages.txt").write_text("a_1.jpg\nd_4.jpg\n")
    (folder / "Flicker8k_Dataset" / "d_4.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="token.txt. Received: no caption of d_4.jpg$"):
        flickr8k(folder, split="dev")
    assert len(flickr8k(folder, split="train")) == 2


def test_caption_without_photograph_is_reported(folder):
    (folder / "Flicker8k_Dataset" / "b_2.jpg").unlink()
    with pytest.raises(
        FileNotFoundError, match="trainImages.txt must be in .*Received: captions of b_2.jpg"
    ):
        flickr8k(folder, split="train")
    assert len(flickr8k(folder, split="dev")) == 1


@pytest.mark.parametrize(
    "line",
    [
        "a_1.jpg#1 a blank where the tab should be",
        "a_1.jpg\tno number",
        "a_1.jpg#x\tA dog .",
        "a_1.jpg#1\t ",
        "#1\tA dog .",
        "",
        "a_1.jpg#0\tThe number of another caption .",
    ],
)
def test_malformed_caption_is_reported_with_its_line(folder, line):
    path = folder / "Flickr8k.token.txt"
    path.write_text(CAPTIONS + line + "\n" + "d_4.jpg#0\tA dog .\n", encoding="utf-8")
    expected = f"Each line of {path} must be `name.jpg#k<TAB>caption`"
    received = f"Received: line 6 is {line!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}.*{re.escape(received)}$"):
        flickr8k(folder)


@pytest.mark.parametrize(
    ("line", "received"), [("", "an empty line"), ("b_2.jpg", "b_2.jpg, as in line 1")]
)
def test_malformed_split_file_is_reported_with_its_line(folder, line, received):
    path = folder / "Flickr_8k.trainImages.txt"
    path.write_text(f"b_2.jpg\na_1.jpg\n{line}\n")
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}.* line 3 is {received}$"):
        flickr8k(folder)


def test_invalid_utf8_is_reported(folder):
    (folder / "Flickr8k.token.txt").write_bytes("a_1.jpg#0\tcafé".encode("latin-1"))
    with pytest.raises(ValueError, match="must be UTF-8. Received: .*token.txt"):
        flickr8k(folder)


def test_unknown_split(folder):
    with pytest.raises(ValueError, match="'train', 'dev', 'test'.*Received: split='val'"):
        flickr8k(folder, split="val")


def test_real_data(shared_data):
    train, dev = (flickr8k(shared_data / "flickr8k", split) for split in ("train", "dev"))
    assert (len(train), len(dev)) == (6000, 1000)
    assert {len(row.captions) for row in train + dev} == {5}
    assert not {row.image for row in train} & {row.image for row in dev}
    assert all(row.image.is_file() for row in dev)
    assert train[0].captions[0] == "A black dog is running after a white dog in the snow ."


def test_package_exports_the_module():
    from keras_attention import datasets

    assert datasets.flickr8k is module
