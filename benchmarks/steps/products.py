"""Matrix products of a piece of work, which limit its time: nothing computes it without them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import keras
from keras import ops


@dataclass(frozen=True)
class Product:
    """Products of (batch, rows, inner) and (batch, inner, columns), `count` times."""

    rows: int
    inner: int
    columns: int
    count: int = 1
    batch: int = 1

    @property
    def flops(self) -> int:
        """Floating-point operations of all of them."""
        return 2 * self.count * self.batch * self.rows * self.inner * self.columns


def with_gradients(products: Iterable[Product]) -> list[Product]:
    """Returns the products with those of the gradients of both operands."""
    return [
        product
        for x in products
        for product in (
            x,
            replace(x, inner=x.columns, columns=x.inner),  # of the left operand
            replace(x, rows=x.inner, inner=x.rows),  # of the right operand
        )
    ]


def run_products(products: Iterable[Product], dtype: str = "float32") -> Callable[[], object]:
    """Returns a function that computes the products and nothing else.

    The right operands differ, as the weights of layers do, and are read from memory.
    """

    def operand(batch, *shape):
        return ops.cast(keras.random.normal(shape if batch == 1 else (batch, *shape)), dtype)

    operands = [
        (
            operand(x.batch, x.rows, x.inner),
            [operand(x.batch, x.inner, x.columns) for _ in range(x.count)],
        )
        for x in products
    ]
    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(lambda operands: multiply(operands, jax.lax.optimization_barrier))
        return lambda: jax.block_until_ready(compiled(operands))
    import tensorflow as tf

    compiled = tf.function(lambda operands: multiply(operands, tf.identity))
    return lambda: compiled(operands)


def multiply(operands, barrier):
    """Returns one element of each product; `barrier` keeps XLA from computing that one alone."""
    return [barrier(ops.matmul(a, b))[..., :1, :1] for a, rights in operands for b in rights]
