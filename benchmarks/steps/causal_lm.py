"""Training step and generation of a decoder-only Transformer: this library and PyTorch.

Options: batch, length, layers, hidden_dim, heads, vocabulary, dtype_policy, jit_compile.
"""

import keras
import numpy as np

from steps.data import compile_model, fit_step
from steps.products import Product, run_products, with_gradients


def random_ids(options):
    """Returns ids, and the ids that follow each of them."""
    shape = options.batch, options.length + 1
    ids = np.random.default_rng(0).integers(4, options.vocabulary, shape, "int32")
    return ids[:, :-1], ids[:, 1:]


def random_model(options, **kwargs):
    """Returns a `causal_lm` with random weights."""
    from keras_attention.models import causal_lm

    keras.config.set_dtype_policy(options.dtype_policy)
    return causal_lm(
        options.vocabulary,
        num_layers=options.layers,
        hidden_dim=options.hidden_dim,
        intermediate_dim=4 * options.hidden_dim,
        num_heads=options.heads,
        dropout=0.0,
        **kwargs,
    )


def keras_attention(options):
    """Returns the step of `causal_lm` with learned positions."""
    model = random_model(options, positions="learned", max_length=options.length)
    return fit_step(model, *random_ids(options), options.jit_compile)


def blockwise_loss(options):
    """Returns the step of `causal_lm`, with the logits of `block_size` tokens at a time."""
    ids, labels = random_ids(options)
    return fit_step(random_model(options), ids, labels, options.jit_compile, options.block_size)


def generation(options):
    """Returns a function that generates with `causal_lm`, whose layers have a `window`.

    With the option `whole_caches`, the caches grow beyond the window.
    """
    from keras_attention.generation import Generator
    from keras_attention.layers import MultiHeadSelfAttention
    from steps.generation import endless_strategy

    if options.whole_caches:
        MultiHeadSelfAttention.num_slots = lambda layer, length: length
    model = random_model(options, window=options.window)
    generator = Generator(model, endless_strategy(options.num_beams, options.tokens))
    prompt, _ = random_ids(options)
    return lambda: generator.generate(prompt).ids


def unknown_length(options):
    """Returns the step of `fit` with batches of several lengths, on TensorFlow.

    Attention is explicit with the option `explicit`, otherwise chosen at run time.
    """
    import tensorflow as tf

    from keras_attention.ops.fused import explicit_scope

    model = random_model(options)
    compile_model(model, options.jit_compile)
    ids = random_ids(options)
    spec = tf.TensorSpec((None, None), tf.int32)
    batches = tf.data.Dataset.from_generator(lambda: iter([ids]), output_signature=(spec, spec))
    iterator = iter(batches.repeat())
    model.make_train_function()

    def step():
        with explicit_scope(options.explicit):  # the first call traces the step
            return model.train_function(iterator)["loss"].numpy()

    return step


def torch(options):
    """Returns the step of the same model in PyTorch, compiled on a GPU; its output is tied, too."""
    from torch import nn
    from torch.nn.functional import linear, scaled_dot_product_attention

    from steps.torch_training import torch_step

    width = options.hidden_dim

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.inputs, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.feed_forward = nn.Sequential(
                nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
            )

        def forward(self, x):
            heads = *x.shape[:2], options.heads, width // options.heads
            query, key, value = (
                y.view(heads).transpose(1, 2) for y in self.inputs(self.norm_1(x)).split(width, -1)
            )
            context = scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + self.output(context.transpose(1, 2).flatten(2))
            return x + self.feed_forward(self.norm_2(x))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(options.vocabulary, width)
            self.positions = nn.Embedding(options.length, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(options.layers)])
            self.norm = nn.LayerNorm(width)

        def forward(self, ids):
            x = self.embedding(ids) + self.positions.weight
            return linear(self.norm(self.blocks(x)), self.embedding.weight)

    ids, labels = random_ids(options)
    return torch_step(Model(), [ids], labels, options.dtype_policy)


def limit(options):
    """Returns a function that computes the matrix products of the step and nothing else."""
    return run_products(products(options), options.dtype_policy.removeprefix("mixed_"))


def products(options):
    """Returns the matrix products of the step."""
    tokens, width = options.batch * options.length, options.hidden_dim
    head, heads = width // options.heads, options.batch * options.heads
    half = options.length // 2  # a causal mask leaves half of the pairs
    return with_gradients(
        [
            Product(tokens, width, width, 4 * options.layers),  # query, key, value, output
            Product(options.length, head, half, options.layers, heads),  # scores
            Product(options.length, half, head, options.layers, heads),  # contexts
            Product(tokens, width, 4 * width, options.layers),
            Product(tokens, 4 * width, width, options.layers),
            Product(tokens, width, options.vocabulary),  # logits
        ]
    )
