import pytest

from keras_attention.utils.limits import limits
from keras_attention.utils.reading import errors_name_file, parse_json, read_bytes


def test_read_bytes(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    monkeypatch.setattr(limits, "json_bytes", 5)
    assert read_bytes(path, "json_bytes") == b"12345"
    path.write_bytes(b"123456")
    with pytest.raises(ValueError, match=f"at most 5 bytes, the `json_bytes` .*'{path}'"):
        read_bytes(path, "json_bytes")
    for missing in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match=f"must be readable. Received: '{missing}'"):
            read_bytes(missing, "json_bytes")


@pytest.mark.parametrize("text", ["", "{", "[1]", "5", "[" * 100_000, '{"a": ' * 100_000])
def test_parse_json(text):
    assert parse_json(b'{"a": [1]}', "a.json") == {"a": [1]}
    with pytest.raises(ValueError, match=r"Expected a JSON file .*Received: 'a\.json'"):
        parse_json(text.encode(), "a.json")


@pytest.mark.parametrize("error", [KeyError("x"), MemoryError(), RuntimeError("a\n  b"), OSError()])
def test_every_error_names_the_file(error):
    with pytest.raises(ValueError, match=r"It is a file. Received: 'a\.b' \(\w+: .*\)") as raised:
        with errors_name_file("a.b", "It is a file"):
            raise error
    assert "\n" not in str(raised.value)


def test_errors_that_name_the_file_and_missing_packages_are_unchanged():
    for error in (ValueError("'a.b' is damaged"), ImportError("no package")):
        with pytest.raises(type(error)) as raised, errors_name_file("a.b", "It is a file"):
            raise error
        assert raised.value is error
