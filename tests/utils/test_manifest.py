"""A manifest detects every change of its folder's files and of itself."""

import hashlib
import json
import os

import pytest

from keras_attention.utils.limits import limits
from keras_attention.utils.manifest import check_digests, read_manifest, write_manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "weights").write_bytes(bytes(range(256)))
    (tmp_path / "part" / "ä.txt").write_bytes(b"")
    return tmp_path


def test_content_and_digests_are_read_again(folder):
    written = write_manifest(folder / "task.json", {"name": "ä", "sizes": [1, 2.5]})
    assert written == {
        "name": "ä",
        "sizes": [1, 2.5],
        "sha256": {
            "part/ä.txt": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "weights": "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880",
        },
    }
    assert read_manifest(folder / "task.json") == written
    (folder / "new.txt").write_text("files that it does not name are ignored")
    assert read_manifest(folder / "task.json") == written


def test_its_own_digest_is_that_of_the_lines_above_the_last_key(folder):
    write_manifest(folder / "task.json", {})
    text = (folder / "task.json").read_bytes()
    head, key, _ = text.partition(b',\n  "sha256_of_the_lines_above"')
    content = json.loads(text)
    assert key and content["sha256_of_the_lines_above"] == hashlib.sha256(head).hexdigest()


def test_a_flipped_bit_in_any_byte_is_noticed(folder):
    write_manifest(folder / "task.json", {"name": "ä"})
    for path in (folder / "task.json", folder / "weights"):
        data = path.read_bytes()
        for index in range(len(data)):
            changed = bytearray(data)
            changed[index] ^= 1 << index % 8
            path.write_bytes(changed)
            with pytest.raises(ValueError, match=f"{path.name}'") as caught:
                read_manifest(folder / "task.json")
            assert "\n" not in str(caught.value)
        path.write_bytes(data)
    read_manifest(folder / "task.json")


def test_cut_and_missing_files_are_noticed(folder):
    path = folder / "task.json"
    write_manifest(path, {})
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match="must end with the SHA-256 of its contents"):
            read_manifest(path)
    path.write_bytes(data)
    os.remove(folder / "weights")
    with pytest.raises(ValueError, match="Received: 'weights', which is missing"):
        read_manifest(path)
    os.remove(path)
    with pytest.raises(ValueError, match="must be readable. Received: .*task.json' .No such file"):
        read_manifest(path)


def test_a_manifest_of_another_form_raises(folder):
    path = folder / "task.json"
    last_line = ',\n  "sha256_of_the_lines_above": "%s"\n}\n'
    for head in ("[", "{", '{"sha256": 1', '{"sha256": {"weights": 1}', '{"sha256": ["weights"]'):
        path.write_text(head + last_line % hashlib.sha256(head.encode()).hexdigest())
        with pytest.raises(ValueError, match="Received: "):
            read_manifest(path)
    with open(path, "wb") as file:
        file.truncate(limits.json_bytes + 1)
    with pytest.raises(ValueError, match="must have at most 16777216 bytes, .* Received: "):
        read_manifest(path)


@pytest.mark.parametrize("name", ["../outside", "/dev/zero", "a/../../b", "\0"])
def test_files_outside_of_the_folder_are_not_read(folder, name):
    with pytest.raises(ValueError, match="must name files in its folder"):
        check_digests(folder, {name: "0"})
