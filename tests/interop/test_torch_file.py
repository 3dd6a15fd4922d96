"""Files of torch.save against torch.load; anything but tensors is rejected, not executed."""

import collections
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from keras_attention.interop.torch_file import load_torch_file
from keras_attention.utils.limits import limits


def state():
    shared = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    return collections.OrderedDict(
        a=shared,
        same=shared,
        slice=shared[1],
        parameter=torch.nn.Parameter(torch.ones(2, 1)),
        half=torch.tensor([0.5, 2.0], dtype=torch.float16),
        count=torch.tensor(3),
    )


@pytest.mark.parametrize("new_format", [True, False])
def test_arrays_equal_those_of_torch(tmp_path, new_format):
    path = tmp_path / "state.bin"
    torch.save(state(), path, _use_new_zipfile_serialization=new_format)
    read, expected = load_torch_file(path), torch.load(path)
    assert list(read) == list(expected)
    for name, array in read.items():
        assert array.dtype == expected[name].detach().numpy().dtype
        np.testing.assert_array_equal(array, expected[name].detach().numpy())


class Malicious:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("new_format", [True, False])
def test_pickled_functions_are_not_executed(tmp_path, new_format, capsys):
    path = tmp_path / "state.bin"
    torch.save({"a": Malicious()}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(ValueError, match=r"it refers to (__builtin__|builtins).print"):
        load_torch_file(path)
    path.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(ValueError, match=r"it refers to (__builtin__|builtins).print"):
        load_torch_file(path)
    assert capsys.readouterr().out == ""


def test_invalid_files_raise(tmp_path):
    path = tmp_path / "state.bin"
    torch.save({"a": torch.ones(2, 3).T}, path)
    with pytest.raises(ValueError, match=r"a tensor of shape \(3, 2\) is not contiguous"):
        load_torch_file(path)
    torch.save([torch.ones(2)], path)
    with pytest.raises(ValueError, match="must be a state dictionary written by torch"):
        load_torch_file(path)
    torch.save({"a": torch.ones(200)}, path)
    whole = path.read_bytes()
    for content in (b"", b"no pickle", pickle.dumps(5), whole[:300]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=str(path)):
            load_torch_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("state/other", b"")
    with pytest.raises(ValueError, match=str(path)):
        load_torch_file(path)


def archive_of(path, pickled, storages=(), compression=zipfile.ZIP_STORED):
    """Writes an archive as torch does, with any pickle and any storages."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a/data.pkl", pickled)
        for key, content in storages:
            archive.writestr(f"a/data/{key}", content)


def pickled_tensor(count, shape=(1,), storage="FloatStorage"):
    """Returns a pickle of a dictionary with one tensor, as torch writes it."""
    integers = b"".join(b"\x8a\x08" + n.to_bytes(8, "little") for n in shape)
    strides = b"".join(b"K\x01" for _ in shape)
    return (
        b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(((X\x07\0\0\0storagectorch\n"
        + storage.encode() + b"\nX\x01\0\0\x000X\x03\0\0\0cpu\x8a\x08"
        + count.to_bytes(8, "little") + b"tQK\0(" + integers + b"t(" + strides
        + b"t\x89}tRs."
    )  # fmt: skip


def test_helper_writes_what_the_reader_reads(tmp_path):
    path = tmp_path / "state.bin"
    archive_of(path, pickled_tensor(1), [("0", np.float32([2.5]).tobytes())])
    assert load_torch_file(path)["w"].tolist() == [2.5]


@pytest.mark.parametrize(
    "count, shape, content, message",
    [
        (10**9, (10**9,), b"\0\0\x80?", "storages of 4000000000 bytes are larger than the file"),
        (100, (100,), b"\0" * 396, "a storage of 400 bytes has 396 bytes"),
        (100, (100,), b"\0" * 404, "has more than 400 bytes"),
        (1, (2**40,), b"\0" * 4, "not contiguous"),
        (1, (2**63 - 1,), b"\0" * 4, "a very large size"),
        (1, (1,) * 65, b"\0" * 4, "more than 64 axes"),
    ],
)
def test_claimed_sizes_are_compared_with_the_file(count, shape, content, message, tmp_path):
    path = tmp_path / "state.bin"
    archive_of(path, pickled_tensor(count, shape), [("0", content)])
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        load_torch_file(path)


HELPER = b"ctorch._utils\n_rebuild_tensor_v2\n"


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize(
    "pickled, message",
    [
        (HELPER + b"N}X\x0c\0\0\0__defaults__)s\x86b.", "expected dict"),  # BUILD on a function
        (b"(" * 100 + b".", "IndexError"),
        (b"]r\xff\xff\xff\x7f0.", "the operation POP"),
        (b"}" + b"]" * 2**20 + b".", "more than 1048576 operations"),
        (b"}(" + b")\x85" * 1000 + b"]u.", "expected"),  # a nested key
        (b"}X\xff\xff\xff\x7f", "expected 2147483647 bytes"),
        (b"cbuiltins\neval\n.", "it refers to builtins.eval"),
        (b"}\x80\x02", "no end|exhausted"),
    ],
)
def test_other_pickles_are_refused_in_bounded_memory(pickled, message, tmp_path):
    path = tmp_path / "state.bin"
    archive_of(path, pickled)
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"{path}.*({message})"):
        load_torch_file(path)
    assert tracemalloc.get_traced_memory()[1] < 2**28
    tracemalloc.stop()


def test_compressed_archives_and_long_pickles_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "state.bin"
    storages = [("0", b"\0" * 4)]
    archive_of(path, pickled_tensor(1), storages, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="is compressed"):
        load_torch_file(path)
    archive_of(path, pickled_tensor(1), storages)
    monkeypatch.setattr(limits, "torch_pickle_bytes", 50)
    with pytest.raises(ValueError, match="more than 50 bytes"):
        load_torch_file(path)
