"""Random numbers that are a function of a seed: noise for sampling, and dropout.

The noise of sampling is integer arithmetic, equal on every backend, under XLA and in TFLite.
TFLite's built-in operations have no stateless random numbers, and Keras's generators cannot advance
inside a compiled loop on JAX. A hash of (seed, step, index) needs neither.
"""

from typing import NamedTuple

import keras
from keras import ops

from keras_attention.types import Tensor


def gumbel(seeds: Tensor, step: Tensor, shape: tuple) -> Tensor:
    """Returns Gumbel noise: the argmax of `logits + noise` is a sample of `softmax(logits)`.

    Maddison et al. 2014, https://arxiv.org/abs/1411.0030.

    Args:
        seeds: int32 `(batch,)`; a row's noise depends on its seed, not on the rest of the batch.
        step: int scalar tensor; every step has different noise.
        shape: shape of the noise, `(batch, ...)`.

    Returns:
        float32 tensor of that shape.

    Example:

    >>> tuple(gumbel(ops.arange(2), step=0, shape=(2, 1, 4)).shape)
    (2, 1, 4)
    """
    return -ops.log(-ops.log(uniform(seeds, step, shape)))


def uniform(seeds: Tensor, step: Tensor, shape: tuple) -> Tensor:
    """Returns uniform noise between 0 and 1, both excluded; arguments as for `gumbel`."""
    size = 1  # numbers per row
    for n in shape[1:]:
        size = size * n
    bits = _scramble(ops.cast(seeds, "int32"))
    bits = ops.expand_dims(_scramble(ops.bitwise_xor(bits, ops.cast(step, "int32"))), -1)  # (B, 1)
    bits = _scramble(ops.bitwise_xor(ops.arange(size, dtype="int32"), bits))  # (B, size)
    fraction = ops.cast(ops.mod(bits, 1 << 23), "float32")
    return ops.reshape((fraction + 0.5) / (1 << 23), shape)


class SeededDropout(NamedTuple):
    """Dropout whose mask can be drawn again, for a gradient that computes its input again.

    It uses the backend's stateless generator, which is faster than `uniform`.

    Attributes:
        rate: probability that an element becomes 0; the others are divided by `1 - rate`.
        seed: int (2,), as `SeedGenerator.next` returns it.

    Example:

    >>> dropout = SeededDropout(0.5, ops.array([1, 2]))
    >>> sorted(set(ops.convert_to_numpy(dropout.apply(ops.ones(1000))).tolist()))
    [0.0, 2.0]
    """

    rate: float
    seed: Tensor

    def apply(self, x: Tensor, block: tuple[Tensor, Tensor] = (0, 0)) -> Tensor:
        """Applies dropout; the mask is a function of the seed and the block.

        Args:
            x: tensor of floating-point numbers.
            block: two int scalars, the numbers of a block of a larger tensor.

        Returns:
            Tensor of the shape and dtype of `x`.
        """
        seed = ops.cast(self.seed, "int32")
        # Keras's generators count up; the factors keep the seeds of blocks and later calls apart.
        offset = ops.stack([ops.cast(n, "int32") * 1000003 for n in block])
        is_on = ops.greater_equal(_seeded_uniform(ops.shape(x), seed + offset), self.rate)
        return ops.where(is_on, x / (1 - self.rate), ops.zeros_like(x))


def _seeded_uniform(shape, seed):
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        key = jax.random.wrap_key_data(ops.cast(seed, "uint32"), impl="threefry2x32")
        return jax.random.uniform(key, shape)
    if backend == "torch":
        import torch

        generator = torch.Generator(seed.device)
        generator.manual_seed((int(seed[0]) << 31) ^ int(seed[1]))
        return torch.rand(tuple(shape), generator=generator, device=seed.device)
    import tensorflow as tf

    return tf.random.stateless_uniform(shape, seed)


def _scramble(x):
    """Hashes integers as the finalizer of MurmurHash3 does."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ops.bitwise_xor(x, _shift_right(x, shift)) * as_int32(factor)
    return ops.bitwise_xor(x, _shift_right(x, 16))


def _shift_right(x, bits):
    # A logical shift: the modulus clears the sign bits, as TFLite has no bitwise AND.
    return ops.mod(ops.right_shift(x, bits), 1 << (32 - bits))


def as_int32(number: int) -> int:
    """Returns the last 32 bits of a Python int as a signed integer."""
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)
