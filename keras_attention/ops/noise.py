"""Random numbers from integer arithmetic alone: the same on every backend, under XLA and in TFLite.

TFLite's built-in operations have no stateless random numbers, and Keras's generators cannot advance
inside a compiled loop on JAX. A hash of (seed, step, place) needs neither.
"""

from typing import Any

from keras import ops


def gumbel(seed: int, step: Any, shape: tuple):
    """Gumbel noise: the argmax of `logits + noise` is a sample of `softmax(logits)`.

    Maddison et al. 2014, https://arxiv.org/abs/1411.0030.

    Args:
        seed: any Python int.
        step: int scalar tensor; every step has its own noise.
        shape: of the noise, `(batch, beams, vocabulary)`.

    Returns:
        float32 tensor of that shape.

    Example:

    >>> tuple(gumbel(seed=1, step=0, shape=(1, 1, 4)).shape)
    (1, 1, 4)
    """
    return -ops.log(-ops.log(uniform(seed, step, shape)))


def uniform(seed: int, step: Any, shape: tuple):
    """Uniform noise between 0 and 1, both excluded; arguments as for `gumbel`."""
    size = 1
    for n in shape:
        size = size * n
    bits = _scramble(ops.convert_to_tensor(_signed(seed), "int32"))
    bits = _scramble(ops.bitwise_xor(bits, ops.cast(step, "int32")))
    bits = _scramble(ops.bitwise_xor(ops.arange(size, dtype="int32"), bits))
    fraction = ops.cast(ops.mod(bits, 1 << 23), "float32")
    return ops.reshape((fraction + 0.5) / (1 << 23), shape)


def _scramble(x):
    """Finalizer in MurmurHash3's form; TFLite has no bitwise and, so a modulus clears the sign."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ops.bitwise_xor(x, _shift_right(x, shift)) * _signed(factor)
    return ops.bitwise_xor(x, _shift_right(x, 16))


def _shift_right(x, bits):
    return ops.mod(ops.right_shift(x, bits), 1 << (32 - bits))


def _signed(number):
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)
