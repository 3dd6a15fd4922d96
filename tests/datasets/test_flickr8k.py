"""A made folder in Flickr8k's layout, broken in every way that a copy breaks; the real one."""

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
    """Photographs a, b (train: b, a; dev: a) and the captions of a third that no list names."""
    (tmp_path / "Flicker8k_Dataset").mkdir()
    for name in ("a_1.jpg", "b_2.jpg"):
        (tmp_path / "Flicker8k_Dataset" / name).write_bytes(b"not opened")
    (tmp_path / "Flickr8k.token.txt").write_text(CAPTIONS, encoding="utf-8")
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("b_2.jpg\na_1.jpg\n")
    (tmp_path / "Flickr_8k.devImages.txt").write_text("a_1.jpg")
    return tmp_path


def test_a_split_is_read_in_its_order(folder):
    photographs = folder / "Flicker8k_Dataset"
    assert flickr8k(str(folder)) == [
        (photographs / "b_2.jpg", ["A dog runs .", "Two dogs\tplay", "A dog 's ball # 1 ."]),
        (photographs / "a_1.jpg", ["A girl , é ."]),
    ]
    (only,) = flickr8k(folder, split="dev")
    assert only.image == photographs / "a_1.jpg"
    assert only.captions == ["A girl , é ."]


def test_lines_that_windows_wrote(folder):
    before = flickr8k(folder)
    for name in ("Flickr8k.token.txt", "Flickr_8k.trainImages.txt"):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_bytes(text.replace("\n", "\r\n").encode())
    assert flickr8k(folder) == before


@pytest.mark.parametrize("name", ["Flickr8k.token.txt", "Flickr_8k.trainImages.txt"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"Received: .*{re.escape(str(folder / name))}$"):
        flickr8k(folder)


def test_a_missing_folder_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="Received: .*nowhere"):
        flickr8k(tmp_path / "nowhere")
    (folder / "Flicker8k_Dataset").rename(folder / "Flickr8k_Dataset")
    with pytest.raises(FileNotFoundError, match="folder of photographs.*/Flicker8k_Dataset$"):
        flickr8k(folder)


def test_a_photograph_without_a_caption_is_named(folder):
    (folder / "Flickr_8k.devImages.txt").write_text("a_1.jpg\nd_4.jpg\n")
    (folder / "Flicker8k_Dataset" / "d_4.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="Received: none for d_4.jpg in .*token.txt$"):
        flickr8k(folder, split="dev")
    assert len(flickr8k(folder, split="train")) == 2


def test_a_caption_without_a_photograph_is_named(folder):
    (folder / "Flicker8k_Dataset" / "b_2.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="Received: captions of b_2.jpg.*trainImages.txt"):
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
def test_a_malformed_caption_is_named_with_its_line(folder, line):
    path = folder / "Flickr8k.token.txt"
    path.write_text(CAPTIONS + line + "\n" + "d_4.jpg#0\tA dog .\n", encoding="utf-8")
    expected = f"{path}, line 6: expected `name.jpg#k<TAB>caption`"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}.*{re.escape(repr(line))}$"):
        flickr8k(folder)


@pytest.mark.parametrize(
    ("line", "received"), [("", "an empty line"), ("b_2.jpg", "b_2.jpg, as in line 1")]
)
def test_a_malformed_list_is_named_with_its_line(folder, line, received):
    path = folder / "Flickr_8k.trainImages.txt"
    path.write_text(f"b_2.jpg\na_1.jpg\n{line}\n")
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}, line 3: .*: {received}$"):
        flickr8k(folder)


def test_bytes_that_are_no_text_are_named(folder):
    (folder / "Flickr8k.token.txt").write_bytes("a_1.jpg#0\tcafé".encode("latin-1"))
    with pytest.raises(ValueError, match="token.txt: expected UTF-8"):
        flickr8k(folder)


def test_unknown_split(folder):
    with pytest.raises(ValueError, match="'train', 'dev', 'test'.*Received: split='val'"):
        flickr8k(folder, split="val")


def test_the_real_set(shared_data):
    train, dev = (flickr8k(shared_data / "flickr8k", split) for split in ("train", "dev"))
    assert (len(train), len(dev)) == (6000, 1000)
    assert {len(row.captions) for row in train + dev} == {5}
    assert not {row.image for row in train} & {row.image for row in dev}
    assert all(row.image.is_file() for row in dev)
    assert train[0].captions[0] == "A black dog is running after a white dog in the snow ."


def test_the_package_gives_the_module():
    from keras_attention import datasets

    assert datasets.flickr8k is module
