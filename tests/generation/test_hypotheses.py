import numpy as np
from keras import ops

from helpers import array
from keras_attention.generation.hypotheses import gather_beams, grow_buffers, write_position


def test_write_position():
    ids = ops.convert_to_tensor([[7, 8]], "int32")
    written = write_position(ops.zeros((1, 2, 3), "int32"), 1, ids)
    assert array(written).tolist() == [[[0, 7, 0], [0, 8, 0]]]
    weights = ops.convert_to_tensor([[[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]])
    written = array(write_position(ops.zeros((1, 2, 2, 3)), 0, weights))
    np.testing.assert_array_equal(written[:, :, 0], array(weights))
    assert not written[:, :, 1].any()


def test_gather_beams():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    beams = np.array([[2, 0], [1, 1]])
    gathered = gather_beams(ops.convert_to_tensor(x), ops.convert_to_tensor(beams, "int32"))
    np.testing.assert_array_equal(array(gathered), np.take_along_axis(x, beams[..., None], 1))


def test_grow_buffers():
    """Only ids and attention have an axis of time; nested hypotheses are enlarged, too."""
    hypotheses = {"scores": ops.ones((1, 2)), "ids": ops.ones((1, 2, 1), "int32")}
    grown = grow_buffers({"alive": hypotheses, "attention": ops.ones((1, 2, 1, 3))}, 2)
    assert array(grown["alive"]["ids"]).tolist() == [[[1, 0], [1, 0]]]
    assert array(grown["alive"]["scores"]).tolist() == [[1, 1]]
    assert array(grown["attention"]).sum(-1).tolist() == [[[3, 0], [3, 0]]]
