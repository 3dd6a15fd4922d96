"""Choice between the explicit form of attention, with weights of all pairs, and the fused one.

The fused form is blockwise attention, or the backend's own kernel where its result is the same. It
needs memory that grows linearly with the length; for short sequences the explicit form is faster.
Both have the same result.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import keras
from keras import ops

from keras_attention.ops.attention import AttentionOptions, Memory, explicit_attention
from keras_attention.ops.attention_mask import AttentionMask
from keras_attention.ops.autodiff import call_with_gradient, graph_function, value_and_vjp
from keras_attention.ops.blockwise import BLOCK_SIZE, BlockwiseAttention
from keras_attention.ops.dtypes import at_least_float32
from keras_attention.ops.noise import SeededDropout
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


def is_explicit(
    num_queries: Tensor, num_keys: Tensor, block_size: int, training: bool = False
) -> bool | Tensor:
    """Returns whether attention is computed in the explicit form.

    It is if there is about one block, or there are a few queries, as in a step of a decoder. Where
    a length is not known while tracing, training decides at run time, and inference is explicit:
    TensorFlow never frees a graph with a gradient of ours.

    Args:
        num_queries: T, an int or an int32 scalar tensor.
        num_keys: S, an int or an int32 scalar tensor.
        block_size: maximum number of queries, and of keys, in a block of the fused form.
        training: whether the graph is one of training.

    Returns:
        A bool, or a bool scalar tensor to be evaluated at run time.
    """
    explicit = _explicit.get()
    if explicit is not None:
        return explicit
    if isinstance(num_queries, int) and num_queries <= MAX_EXPLICIT_QUERIES:
        return True
    if isinstance(num_queries, int) and isinstance(num_keys, int):
        return num_queries * num_keys <= block_size**2
    if None in (num_queries, num_keys) or not training or keras.backend.backend() != "tensorflow":
        return True
    # a quotient, as the product could be too large for int32
    is_one_block = num_queries <= block_size**2 // ops.maximum(num_keys, 1)
    return ops.logical_or(num_queries <= MAX_EXPLICIT_QUERIES, is_one_block)


@dataclass(frozen=True)
class FusedAttention:
    """Attention without its weights, `softmax(mask(score(query, keys))) values`.

    Args:
        score: function of `(query, keys, positions)`, of all queries and keys or of a block of
            each, that returns scores (B, T, S) or (B, H, T, S); `positions` are those of the
            queries and the keys, or `None`.
        variables: variables that `score` reads.
        block_size: maximum number of queries, and of keys, in a block.
        key: scores with equal keys are the same function but for the values of `variables`, so
            that in a graph of TensorFlow they are traced once; `None` is equal to no other.

    Example:

    >>> from keras_attention.ops.attention import AttentionOptions
    >>> from keras_attention.ops.scores import dot
    >>> attention = FusedAttention(lambda query, keys, positions: dot(query, keys), block_size=2)
    >>> x = ops.ones((1, 5, 4))
    >>> tuple(attention(x, Memory(x, x), AttentionOptions(AttentionMask(causal=True))).shape)
    (1, 5, 4)
    """

    score: Callable[..., Tensor]
    variables: Sequence[keras.Variable] = ()
    block_size: int = BLOCK_SIZE
    key: Hashable | None = None

    def __call__(
        self,
        query: Tensor,
        memory: Memory,
        options: AttentionOptions,
        is_explicit: bool | Tensor = False,
    ) -> Tensor:
        """Computes the context of every query.

        Args:
            query: (B, T, U) or (B, H, T, U).
            memory: keys (B, S, U) or (B, G, S, U), where G divides H, values (B, S, D) or
                (B, G, S, D), and with positions those of the keys. Its mask is not read.
            options: mask, positions and dropout.
            is_explicit: bool scalar tensor: whether the form is explicit, decided at run time.
                `False` is blockwise.

        Returns:
            (B, T, D) or (B, H, T, D), in the dtype of the values.
        """
        inputs = [query, memory.keys, memory.values, *(each.value for each in self.variables)]
        mask = {name: x for name, x in options.mask._asdict().items() if name not in _STATIC}
        constants: dict = {"mask": {name: x for name, x in mask.items() if x is not None}}
        if options.positions is not None:
            constants["positions"] = {"queries": options.positions, "keys": memory.positions}
        if options.dropout is not None:
            constants["seed"] = options.dropout.seed
        key = None
        if is_explicit is not False:
            constants["is_explicit"] = is_explicit
            if self.key is not None:
                rate = None if options.dropout is None else options.dropout.rate
                key = self.key, self.block_size, options.mask.causal, options.mask.window, rate
        form = _Form(self, options)
        return call_with_gradient(form.forward, form.backward, inputs, constants, key)


# parts of an `AttentionMask` that are not tensors
_STATIC = ("causal", "window")


class _Form:
    """Context and gradient of `FusedAttention` as functions of tensors.

    If the constants have `is_explicit`, both choose the form at run time: XLA refuses the gradient
    of a choice between functions that have gradients of their own. The results of both forms have
    the same structure. The gradient of the explicit form computes the weights again.
    """

    def __init__(self, attention: FusedAttention, options: AttentionOptions):
        self.score = _with_variables(attention.score, attention.variables)
        self.block_size = attention.block_size
        self.static = {name: getattr(options.mask, name) for name in _STATIC}
        self.dropout_rate = None if options.dropout is None else options.dropout.rate

    def forward(self, inputs, constants):
        """Returns the context, and with it the logarithms of the softmax's denominators."""

        def explicit():
            context = self._explicit(inputs, constants)
            dtype = at_least_float32(context).dtype
            return context, ops.zeros((*ops.shape(context)[:-1], 1), dtype)

        def blockwise(inputs, constants):
            return self._blockwise(inputs, constants).context()

        context, log_sums = _choose(explicit, blockwise, inputs, constants)
        return context, (context, log_sums)

    def backward(self, inputs, constants, saved, gradient):
        """Returns the gradients of the inputs."""

        def explicit():
            _, vjp = value_and_vjp(lambda *inputs: self._explicit(inputs, constants), inputs)
            gradients = vjp(gradient)
            return [ops.zeros_like(x) if g is None else g
                    for x, g in zip(inputs, gradients, strict=True)]  # fmt: skip

        def blockwise(inputs, constants, saved, gradient):
            return self._blockwise(inputs, constants).gradients(*saved, gradient)

        return _choose(explicit, blockwise, inputs, constants, saved, gradient)

    def _explicit(self, inputs, constants):
        query, keys, values, *parameters = inputs
        memory, options = self._unpack(keys, values, constants)

        def score(query, keys, positions):
            return self.score(query, keys, positions, *parameters)

        return explicit_attention(score, query, memory, options)[0]

    def _blockwise(self, inputs, constants):
        query, keys, values, *parameters = inputs
        memory, options = self._unpack(keys, values, constants)
        return BlockwiseAttention(self.score, query, memory, parameters, options, self.block_size)

    def _unpack(self, keys, values, constants):
        """Returns the memory and the options, made of the tensors among the constants."""
        positions = constants.get("positions", {"queries": None, "keys": None})
        dropout = None
        if self.dropout_rate is not None:
            dropout = SeededDropout(self.dropout_rate, constants["seed"])
        mask = AttentionMask(**self.static, **constants["mask"])
        memory = Memory(values, keys, positions=positions["keys"])
        return memory, AttentionOptions(mask, positions["queries"], dropout)


def _choose(explicit, blockwise, inputs, constants, *others):
    """Returns the result of one of two functions, chosen at run time if the constants say so."""
    arguments = inputs, constants, *others
    if "is_explicit" not in constants:
        return blockwise(*arguments)
    blockwise = graph_function(blockwise)
    return ops.cond(constants["is_explicit"], explicit, lambda: blockwise(*arguments))


def _with_variables(score, variables):
    """Returns the score as a function of the variables' values, after its other arguments."""

    def function(query, keys, positions, *values):
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping, initialize_variables=False):
            return score(query, keys, positions)

    return function if variables else score


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
