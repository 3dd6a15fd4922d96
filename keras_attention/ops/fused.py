"""Choice between the explicit form of attention, with weights of all pairs, and the fused one.

The fused form is blockwise attention, or the backend's own kernel where its result is the same. It
needs memory that grows linearly with the length; for short sequences the explicit form is faster.
Both have the same result.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras
from keras import ops

from keras_attention.ops.attention import Memory
from keras_attention.ops.attention_mask import AttentionMask
from keras_attention.ops.blockwise import BLOCK_SIZE
from keras_attention.types import Tensor

# Steps of a decoder have one query or a few, and their weights are only as long as the keys.
MAX_EXPLICIT_QUERIES = 16

_explicit: ContextVar[bool | None] = ContextVar("explicit", default=None)


@contextmanager
def explicit_scope(explicit: bool | None) -> Iterator[None]:
    """Decides the form of attention in graphs traced inside the scope.

    The loops of the fused form do not run well in TFLite, which copies what they carry.

    Args:
        explicit: whether attention is explicit; `None` decides by the number of queries and keys.

    Example:

    >>> with explicit_scope(True):
    ...     is_explicit(10_000, 10_000, block_size=512)
    True
    """
    token = _explicit.set(explicit)
    try:
        yield
    finally:
        _explicit.reset(token)


def is_explicit(num_queries: Tensor, num_keys: Tensor, block_size: int) -> bool:
    """Returns whether attention is computed in the explicit form.

    It is if there is about one block, or there are a few queries, as in a step of a decoder, or a
    length is not known while tracing: XLA refuses the gradient of a choice made at run time.

    Args:
        num_queries: T, an int or an int32 scalar tensor.
        num_keys: S, an int or an int32 scalar tensor.
        block_size: maximum number of queries, and of keys, in a block of the fused form.
    """
    explicit = _explicit.get()
    if explicit is not None:
        return explicit
    if not (isinstance(num_queries, int) and isinstance(num_keys, int)):
        return True
    return num_queries <= MAX_EXPLICIT_QUERIES or num_queries * num_keys <= block_size**2


def explicit_or_fused(
    num_queries: Tensor,
    num_keys: Tensor,
    explicit: Callable[[], Tensor],
    fused: Callable[[], Tensor],
    block_size: int = BLOCK_SIZE,
) -> Tensor:
    """Returns the result of one of two functions that compute the same context.

    Args:
        num_queries: T, an int or an int32 scalar tensor.
        num_keys: S, an int or an int32 scalar tensor.
        explicit: computes the context in the explicit form.
        fused: computes the context in the fused form.
        block_size: see `is_explicit`.

    Returns:
        The context.
    """
    return explicit() if is_explicit(num_queries, num_keys, block_size) else fused()


def backend_attention(query: Tensor, memory: Memory, mask: AttentionMask) -> Tensor | None:
    """Computes scaled dot-product attention by the backend's kernel, if that can do it.

    PyTorch's kernel takes a causal mask or none; with others it builds the scores of all pairs, or
    gives NaN for a fully masked row. JAX's is used on a GPU with half precision.

    Args:
        query: (B, H, T, D).
        memory: keys and values (B, G, S, D). Its mask is not read.
        mask: keys that each query attends to.

    Returns:
        (B, H, T, D), or `None` if the kernel cannot do it.
    """
    keys, values = memory.keys, memory.values
    others = mask._asdict()
    del others["causal"]
    if any(part is not None for part in others.values()):
        return None
    if mask.causal and query.shape[2] != keys.shape[2]:
        return None
    if keras.backend.backend() == "torch":
        import torch

        return torch.nn.functional.scaled_dot_product_attention(
            query, keys, values, is_causal=mask.causal, enable_gqa=query.shape[1] != keys.shape[1]
        )
    if keras.backend.backend() == "jax" and _jax_has_kernel(query):
        import jax

        transposed = (ops.transpose(x, (0, 2, 1, 3)) for x in (query, keys, values))
        context = jax.nn.dot_product_attention(
            *transposed, is_causal=mask.causal, implementation="cudnn"
        )  # (B, T, H, D)
        return ops.transpose(context, (0, 2, 1, 3))
    return None


def _jax_has_kernel(query):
    import jax

    dtype = keras.backend.standardize_dtype(query.dtype)
    return jax.default_backend() == "gpu" and dtype in ("float16", "bfloat16")
