import numpy as np
from keras import ops

from helpers import array
from keras_attention.generation.hypotheses import (
    gather_beams,
    grow_buffers,
    reorder_beams,
    write_position,
)
from keras_attention.ops.beam_cache import BeamCache, CacheState
from keras_attention.ops.kv_cache import KVCache, fill_slots


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


def test_reorder_beams_leaves_caches_as_they_are():
    """Everything else is gathered, and `beams` tells who has written the slots of the cache."""
    slots = fill_slots(KVCache(*[ops.reshape(ops.arange(6.0), (1, 1, 6, 1))] * 2), 1)
    beams = ops.convert_to_tensor([[[0, 0], [1, 1]]], "int32")
    state = {"sum": ops.convert_to_tensor([[5.0, 7.0]]), "caches": CacheState(
        [BeamCache(slots, slots)], beams
    )}  # fmt: skip
    reordered = reorder_beams(state, ops.convert_to_tensor([[1, 1]], "int32"))
    assert array(reordered["sum"]).tolist() == [[7.0, 7.0]]
    assert array(reordered["caches"].beams).tolist() == [[[1, 1], [1, 1]]]
    (cache,) = reordered["caches"].caches
    assert isinstance(cache, BeamCache) and cache.past.keys is slots.keys


def test_grow_buffers():
    """Only ids and attention have an axis of time; nested hypotheses are enlarged, too."""
    hypotheses = {"scores": ops.ones((1, 2)), "ids": ops.ones((1, 2, 1), "int32")}
    grown = grow_buffers({"alive": hypotheses, "attention": ops.ones((1, 2, 1, 3))}, 2)
    assert array(grown["alive"]["ids"]).tolist() == [[[1, 0], [1, 0]]]
    assert array(grown["alive"]["scores"]).tolist() == [[1, 1]]
    assert array(grown["attention"]).sum(-1).tolist() == [[[3, 0], [3, 0]]]
