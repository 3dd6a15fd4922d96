"""Position encodings against the papers' equations in float64 and against other libraries."""

import math

import keras_hub
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.ops import positions

POSITIONS = np.array([[0, 1, 2, 3, 50], [7, 3, 0, 120, 511]])


def rotated(x, position_ids, base=10000.0):
    """Su et al. 2021, section 3.4.2: pair (i, i + D/2) is rotated by m * base^(-2i/D)."""
    x, out = x.astype("float64"), np.zeros(x.shape)
    batch, heads, length, width = x.shape
    for b, h, t, i in np.ndindex(batch, heads, length, width // 2):
        angle = position_ids[b % len(position_ids), t] * base ** (-2 * i / width)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        pair = [i, i + width // 2]
        out[b, h, t, pair] = turn @ x[b, h, t, pair]
    return out


def bucket(distance, num_buckets, max_distance, bidirectional):
    """T5's rule in integers: floor(log(d / m) / log(M / m) * n) >= k if d^n m^k >= M^k m^n."""
    first = 0
    if bidirectional:
        num_buckets //= 2
        first = num_buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    m = num_buckets // 2
    if distance < m:
        return first + distance
    n, k = num_buckets - m, 0
    while k < n - 1 and distance**n * m ** (k + 1) >= max_distance ** (k + 1) * m**n:
        k += 1
    return first + m + k


# Sinusoids


def test_sinusoids_match_the_paper():
    expected = np.zeros((2, 5, 6))
    for (b, t), position in np.ndenumerate(POSITIONS):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            expected[b, t, 2 * i : 2 * i + 2] = np.sin(angle), np.cos(angle)
    ours = array(positions.sinusoidal(ops.array(POSITIONS), 6))
    np.testing.assert_allclose(ours, expected, atol=5e-5)  # 511 radians in float32: 3e-5 apart
    halves = array(positions.sinusoidal(ops.array(POSITIONS), 6, layout="halves"))
    np.testing.assert_array_equal(halves, ours[..., [0, 2, 4, 1, 3, 5]])


def test_sinusoids_match_keras_hub():
    theirs = keras_hub.layers.SinePositionEncoding()(np.zeros((1, 40, 8), "float32"))
    ours = positions.sinusoidal(ops.arange(40), 8)
    np.testing.assert_allclose(array(ours), array(theirs)[0], atol=1e-5)


@pytest.mark.slow_on_tensorflow
def test_sinusoids_in_halves_match_marian():
    marian = pytest.importorskip("transformers.models.marian.modeling_marian")
    theirs = marian.MarianSinusoidalPositionalEmbedding(40, 8)
    weight = theirs.create_weight()
    ours = positions.sinusoidal(ops.arange(40), 8, layout="halves")
    np.testing.assert_allclose(array(ours), weight.numpy(), atol=1e-5)


@pytest.mark.parametrize("width", [7, 0])
def test_sinusoids_require_an_even_width(width):
    with pytest.raises(ValueError, match=f"Received: width={width}"):
        positions.sinusoidal(ops.array([[0]]), width)


def test_unknown_layout():
    with pytest.raises(ValueError, match="Received: layout='blocks'"):
        positions.sinusoidal(ops.array([[0]]), 4, layout="blocks")


# Rotations


@pytest.mark.parametrize("position_ids", [POSITIONS, POSITIONS[:1]], ids=["per-row", "shared"])
def test_rotary_rotates_each_pair_by_its_angle(position_ids):
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 8)).astype("float32")
    ours = array(positions.rotary(ops.array(x), ops.array(position_ids), base=500.0))
    np.testing.assert_allclose(ours, rotated(x, position_ids, 500.0), atol=1e-4)


def test_linear_scaling_divides_the_positions():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 8)).astype("float32")
    ours = positions.rotary(ops.array(x), ops.array(POSITIONS), scaling="linear", factor=4.0)
    np.testing.assert_allclose(array(ours), rotated(x, POSITIONS / 4.0), atol=1e-4)


def test_ntk_scaling_slows_the_slowest_pair_by_the_factor():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 8)).astype("float32")
    ours = array(positions.rotary(ops.array(x), ops.array(POSITIONS), scaling="ntk", factor=4.0))
    np.testing.assert_allclose(ours, rotated(x, POSITIONS, 10000 * 4 ** (8 / 6)), atol=1e-4)
    slowest, fastest = [3, 7], [0, 4]
    np.testing.assert_allclose(
        ours[..., slowest], rotated(x, POSITIONS / 4.0)[..., slowest], atol=1e-4
    )
    np.testing.assert_allclose(ours[..., fastest], rotated(x, POSITIONS)[..., fastest], atol=1e-4)


def test_rotated_products_depend_only_on_the_distance():
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, 1, 1, 1, 8)).astype("float32")

    def product(t, s):
        rotate = positions.rotary
        q, k = rotate(ops.array(query), ops.array([[t]])), rotate(ops.array(key), ops.array([[s]]))
        return float(ops.sum(q * k))

    far = [product(3 + shift, shift) for shift in (0, 1, 17, 200)]
    np.testing.assert_allclose(far, far[0], atol=1e-4)
    assert abs(product(4, 0) - far[0]) > 0.01
    assert product(9, 9) == pytest.approx(float((query * key).sum()), abs=1e-5)


@pytest.mark.parametrize(
    "rope_type, scaling, factor", [("linear", None, 1), ("linear",) * 2 + (4,)]
)
def test_rotary_matches_keras_hub(rope_type, scaling, factor):
    x = np.random.default_rng(0).normal(size=(2, 5, 3, 8)).astype("float32")  # time before heads
    layer = keras_hub.layers.RotaryEmbedding(scaling_factor=float(factor), rope_type=rope_type)
    theirs = layer(ops.array(x), positions=ops.array(POSITIONS))
    heads_first = ops.array(x.transpose(0, 2, 1, 3))
    ours = positions.rotary(heads_first, ops.array(POSITIONS), scaling=scaling, factor=factor)
    np.testing.assert_allclose(array(ours).transpose(0, 2, 1, 3), array(theirs), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rotary_in_half_precision_is_rounded_once(dtype):
    x = ops.cast(np.random.default_rng(0).normal(size=(2, 1, 5, 8)), dtype)
    ours = positions.rotary(x, ops.array(POSITIONS))
    expected = ops.cast(positions.rotary(ops.cast(x, "float32"), ops.array(POSITIONS)), dtype)
    assert dtype in str(ours.dtype)
    np.testing.assert_array_equal(
        array(ops.cast(ours, "float32")), array(ops.cast(expected, "float32"))
    )


def test_rotary_requires_an_even_width():
    with pytest.raises(ValueError, match=r"must be even.*Received: width=5"):
        positions.rotary(ops.ones((1, 1, 1, 5)), ops.array([[0]]))
    with pytest.raises(ValueError, match=r"greater than 2 .*Received: width=2"):
        positions.rotary(ops.ones((1, 1, 1, 2)), ops.array([[0]]), scaling="ntk")


def test_unknown_scaling():
    with pytest.raises(ValueError, match="Received: scaling='yarn'"):
        positions.rotary(ops.ones((1, 1, 1, 4)), ops.array([[0]]), scaling="yarn")


# Buckets

BUCKETS = [
    (32, 128, True),
    (32, 128, False),
    (8, 16, True),
    (8, 16, False),
    (4, 3, True),
    (2, 2, False),
    (10, 81, False),
]


@pytest.mark.parametrize("num_buckets, max_distance, bidirectional", BUCKETS)
def test_buckets_of_every_distance(num_buckets, max_distance, bidirectional):
    distance = np.arange(-300, 301)
    expected = [bucket(int(d), num_buckets, max_distance, bidirectional) for d in distance]
    ours = positions.relative_buckets(ops.array(distance), num_buckets, max_distance, bidirectional)
    assert array(ours).tolist() == expected
    assert "int32" in str(ours.dtype)


def test_bucket_boundaries():
    distance = ops.array([-15, -16, -31, -32, -63, -64, -90, -91, -127, -128, 8, 9, 16, 64, 10**6])
    expected = [9, 10, 11, 12, 13, 14, 14, 15, 15, 15, 24, 24, 26, 30, 31]
    assert array(positions.relative_buckets(distance)).tolist() == expected
    one_way = positions.relative_buckets(ops.array([3, 0, -15, -16, -32]), bidirectional=False)
    assert array(one_way).tolist() == [0, 0, 15, 16, 21]


@pytest.mark.parametrize("num_buckets, max_distance, bidirectional", BUCKETS[:4])
def test_buckets_match_transformers(num_buckets, max_distance, bidirectional):
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    torch = pytest.importorskip("torch")
    distance = np.arange(-300, 301)
    theirs = t5.T5Attention._relative_position_bucket(
        torch.from_numpy(distance), bidirectional, num_buckets, max_distance
    )
    ours = positions.relative_buckets(ops.array(distance), num_buckets, max_distance, bidirectional)
    assert array(ours).tolist() == theirs.tolist()


@pytest.mark.parametrize(
    "numbers", [(3, 128, True), (1, 128, False), (32, 8, True), (32, 16, False)]
)
def test_invalid_numbers_of_buckets(numbers):
    with pytest.raises(ValueError, match=f"Received: num_buckets={numbers[0]}, max_distance="):
        positions.relative_buckets(ops.array([0]), *numbers)


# Slopes


def test_slopes_match_the_paper():
    assert positions.alibi_slopes(8) == [2.0**-i for i in range(1, 9)]
    sixteen = [2 ** (-i / 2) for i in range(1, 17)]
    np.testing.assert_allclose(positions.alibi_slopes(16), sixteen, rtol=1e-15)
    # 12 heads: the slopes of 8, then every other one of 16.
    np.testing.assert_allclose(
        positions.alibi_slopes(12), [2.0**-i for i in range(1, 9)] + sixteen[:8:2], rtol=1e-15
    )
    assert positions.alibi_slopes(1) == [2.0**-8]


@pytest.mark.parametrize("num_heads", [1, 2, 3, 6, 7, 8, 12, 20])
def test_slopes_match_keras_hub(num_heads):
    bias = keras_hub.layers.AlibiBias()(np.zeros((1, num_heads, 1, 2), "float32"))
    np.testing.assert_allclose(positions.alibi_slopes(num_heads), -array(bias)[0, :, 0, 0], 1e-6)
    assert len(positions.alibi_slopes(num_heads)) == num_heads
    assert all(math.log2(slope) < 0 for slope in positions.alibi_slopes(num_heads))


def test_slopes_require_a_positive_number_of_heads():
    with pytest.raises(ValueError, match="Received: num_heads=0"):
        positions.alibi_slopes(0)


@pytest.mark.tensorflow_only  # on the other backends Keras's operations return float32
def test_float64_positions_have_the_precision_of_float64():
    position = 123_457
    x = np.random.default_rng(0).normal(size=(1, 1, 1, 4))
    angles = position * np.array([1.0, 10000.0**-0.5])
    cos, sin = np.cos(angles), np.sin(angles)
    first, second = x[..., :2], x[..., 2:]
    expected = np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)
    ids = ops.convert_to_tensor([[position]])
    result = array(positions.rotary(ops.convert_to_tensor(x), ids))
    np.testing.assert_allclose(result, expected, rtol=1e-10)
    sinusoids = array(positions.sinusoidal(ids, 4, dtype="float64"))[0, 0]
    np.testing.assert_allclose(sinusoids, np.stack([sin, cos], -1).ravel(), rtol=1e-10)


@pytest.mark.parametrize(
    "some_positions, expected",
    [(None, [[0, 1]]), (5, [[5]]), ([3, 1], [[3, 1]]), ([[3, 1], [0, 2]], [[3, 1], [0, 2]])],
)
def test_as_positions(some_positions, expected):
    result = array(positions.as_positions(some_positions, 2))
    assert result.tolist() == expected and result.dtype == "int32"


def test_buckets_are_those_of_t5_by_default():
    """32 buckets in both directions, up to a distance of 128."""
    distance = np.arange(-200, 201)
    expected = [bucket(int(d), 32, 128, True) for d in distance]
    assert array(positions.relative_buckets(ops.array(distance))).tolist() == expected
