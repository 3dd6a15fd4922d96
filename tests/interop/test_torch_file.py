"""Files of torch.save against torch.load; what is not arrays is refused, not run."""

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


@pytest.mark.parametrize("today", [True, False])
def test_arrays_are_those_of_torch(tmp_path, today):
    path = tmp_path / "state.bin"
    torch.save(state(), path, _use_new_zipfile_serialization=today)
    read, expected = load_torch_file(path), torch.load(path)
    assert list(read) == list(expected)
    for name, array in read.items():
        assert array.dtype == expected[name].detach().numpy().dtype
        np.testing.assert_array_equal(array, expected[name].detach().numpy())


class Evil:
    def __reduce__(self):
        return print, ("it ran",)


@pytest.mark.parametrize("today", [True, False])
def test_what_it_says_is_not_run(tmp_path, today, capsys):
    path = tmp_path / "state.bin"
    torch.save({"a": Evil()}, path, _use_new_zipfile_serialization=today)
    with pytest.raises(ValueError, match=r"it asks for (__builtin__|builtins).print"):
        load_torch_file(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r"it asks for (__builtin__|builtins).print"):
        load_torch_file(path)
    assert capsys.readouterr().out == ""


def test_other_files(tmp_path):
    path = tmp_path / "state.bin"
    torch.save({"a": torch.ones(2, 3).T}, path)
    with pytest.raises(ValueError, match=r"a tensor of shape \(3, 2\) is not in one piece"):
        load_torch_file(path)
    torch.save([torch.ones(2)], path)
    with pytest.raises(ValueError, match="Expected a state dictionary that torch wrote"):
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
