"""Causal multi-head self-attention, forward and backward: this library, Keras and PyTorch.

Options: batch, length, heads, head_dim, dtype_policy; of the fused form also block_size. Each step
first runs with a short sequence, so that the memory it adds is that of the length.
"""

import keras

from steps.products import Product, run_products

WARM_UP_LENGTH = 64


def keras_attention(options):
    """Returns the step of this library's layer: fused, since no weights are requested."""
    from keras_attention.layers import MultiHeadAttention

    return layer_step(MultiHeadAttention, options)


def explicit(options):
    """Returns the step of this library's layer with the weights of all pairs in memory."""
    from keras_attention.layers import MultiHeadAttention
    from keras_attention.ops.fused import explicit_scope

    step = layer_step(MultiHeadAttention, options)

    def explicit_step():
        with explicit_scope(True):  # the first call traces the step
            return step()

    return explicit_step


def keras_layer(options):
    """Returns the step of Keras's layer, with flash attention where Keras has it."""
    if keras.backend.backend() == "jax":
        keras.config.enable_flash_attention()
    return layer_step(keras.layers.MultiHeadAttention, options)


def layer_step(layer_class, options):
    """Returns the step of a layer with the arguments of Keras's."""
    from steps.gradients import gradient_step

    keras.config.set_dtype_policy(options.dtype_policy)
    layer = layer_class(options.heads, options.head_dim)
    if hasattr(options, "block_size"):
        layer.block_size = options.block_size
    dtype = layer.compute_dtype

    def make(length):
        shape = options.batch, length, options.heads * options.head_dim
        x = keras.random.normal(shape, dtype=dtype)
        if not layer.built:
            layer.build(shape, shape)
        return gradient_step(layer, x, use_causal_mask=True)

    make(WARM_UP_LENGTH)()
    return make(options.length)


def torch(options):
    """Returns the step of the same layer from PyTorch's fused attention."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, options.dtype_policy.removeprefix("mixed_"))
    width = options.heads * options.head_dim
    inputs = torch.nn.Linear(width, 3 * width, device=device, dtype=dtype)
    output = torch.nn.Linear(width, width, device=device, dtype=dtype)

    def make(length):
        x = torch.randn(options.batch, length, width, device=device, dtype=dtype)
        heads = options.batch, length, options.heads, options.head_dim

        def step():
            query, key, value = (
                x.view(heads).transpose(1, 2) for x in inputs(x).split(width, dim=-1)
            )
            context = scaled_dot_product_attention(query, key, value, is_causal=True)
            output(context.transpose(1, 2).flatten(2)).sum().backward()
            return inputs.weight.grad[0, 0].item()

        return step

    make(WARM_UP_LENGTH)()
    return make(options.length)


def limit(options):
    """Returns a function that computes the matrix products of the step and nothing else.

    Scores and contexts are needed for half of the pairs. The backward pass has twice the products
    of the forward pass; computing the scores again, in place of storing them, is not counted.
    """
    dtype = options.dtype_policy.removeprefix("mixed_")
    tokens, width = options.batch * options.length, options.heads * options.head_dim
    rows = min(options.length, 512)
    blocks = -(-(options.length**2) // (2 * rows**2))
    heads = options.batch * options.heads
    return run_products(
        [
            Product(tokens, width, width, 3 * 4),
            Product(rows, options.head_dim, rows, 3 * blocks, heads),
            Product(rows, rows, options.head_dim, 3 * blocks, heads),
        ],
        dtype,
    )
