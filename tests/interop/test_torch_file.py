"""Files of torch.save against torch.load; anything but tensors is rejected, not executed."""

import collections
import pickle
import zipfile

import numpy as np
import pytest
import torch

from keras_attention.interop.torch_file import load_torch_file


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
