"""Layouts of weights for model parallelism; `tests/distributed/` trains with them."""

import keras
import pytest

from keras_attention.models import causal_lm, seq2seq, transformer
from keras_attention.training import get_layout_map

SIZES = {"num_layers": 1, "hidden_dim": 8, "intermediate_dim": 16, "num_heads": 2}
BUILDERS = {
    "transformer": lambda: transformer(8, 8, "tiny", **SIZES),
    "causal_lm": lambda: causal_lm(8, positions="learned", **SIZES),
    "seq2seq": lambda: seq2seq(8, 8, 8, 8),
}


@pytest.fixture
def mesh():
    devices = [f"cpu:{number}" for number in range(4)]
    return keras.distribution.DeviceMesh((2, 2), ("batch", "model"), devices)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_matrix_of_attention_and_feed_forward_is_divided(mesh, name):
    layout_map = get_layout_map(mesh, data_parallel_dim_name="batch")
    for weight in BUILDERS[name]().weights:
        layout = layout_map[weight.path]  # raises an error if two keys match
        parts = ("tokens/", "attention/", "feed_forward/")
        is_divided = len(weight.shape) == 2 and any(part in weight.path for part in parts)
        assert (layout is not None and set(layout.axes) == {"batch", "model"}) == is_divided, (
            weight.path
        )
        if layout is not None:
            assert len(layout.axes) == len(weight.shape)


def test_matrices_are_whole_along_the_batch_axis_by_default(mesh):
    layout_map = get_layout_map(mesh)
    assert layout_map["encoder/block_0/self_attention/output/kernel"].axes == ("model", None)
    assert layout_map["encoder/block_0/self_attention_residual/norm/gamma"] is None


def test_unknown_axis_is_refused(mesh):
    with pytest.raises(ValueError, match="must be one of the device mesh. Received: 'heads'"):
        get_layout_map(mesh, model_parallel_dim_name="heads")
