"""Training step of an encoder-decoder Transformer: this library, KerasHub, PyTorch.

Positions are learned and the output weights are not tied, as in KerasHub. Options: batch, length,
hidden_dim, heads, intermediate_dim, layers, vocabulary, dtype_policy, jit_compile.
"""

import keras

from steps.data import random_batch, training_step
from steps.products import Product, run_products, with_gradients


def keras_attention(options):
    """Returns the step of a model from the layers of this library."""
    from keras_attention.decoders import TransformerDecoder
    from keras_attention.layers import (
        DecoderBlock,
        EncoderBlock,
        TextEncoder,
        TokenEmbedding,
        TransformerEncoder,
        make_blocks,
    )
    from keras_attention.models import EncoderDecoder

    def embedding(output=None):
        return TokenEmbedding(
            options.vocabulary,
            options.hidden_dim,
            output=output,
            positions="learned",
            max_length=options.length,
        )

    keras.config.set_dtype_policy(options.dtype_policy)
    block = {
        "num_heads": options.heads,
        "intermediate_dim": options.intermediate_dim,
        "dropout": 0.1,
    }
    encoder = TransformerEncoder(make_blocks(EncoderBlock, options.layers, **block))
    decoder = TransformerDecoder(
        embedding("separate"), make_blocks(DecoderBlock, options.layers, **block)
    )
    return training_step(EncoderDecoder(TextEncoder(embedding(), encoder), decoder), options)


def keras_hub(options):
    """Returns the step of the same model from KerasHub's layers."""
    from keras_hub import layers

    def embedding():
        return layers.TokenAndPositionEmbedding(
            options.vocabulary, options.length, options.hidden_dim, mask_zero=True
        )

    keras.config.set_dtype_policy(options.dtype_policy)
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    block = {"num_heads": options.heads, "dropout": 0.1, "normalize_first": True}
    x, y = embedding()(source), embedding()(target)
    for _ in range(options.layers):
        x = layers.TransformerEncoder(options.intermediate_dim, **block)(x)
    for _ in range(options.layers):
        y = layers.TransformerDecoder(options.intermediate_dim, **block)(y, x)
    logits = keras.layers.Dense(options.vocabulary)(y)
    return training_step(keras.Model({"source": source, "target": target}, logits), options)


def torch(options):
    """Returns the step of the same model from PyTorch's `nn.Transformer`."""
    import torch
    from torch import nn

    from steps.torch_training import torch_step

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            width = options.hidden_dim
            self.source, self.target = (nn.Embedding(options.vocabulary, width) for _ in range(2))
            self.positions = nn.Embedding(options.length, width)
            self.blocks = nn.Transformer(
                width,
                options.heads,
                options.layers,
                options.layers,
                options.intermediate_dim,
                dropout=0.1,
                batch_first=True,
                norm_first=True,
            )
            self.logits = nn.Linear(width, options.vocabulary)
            pairs = torch.ones(options.length, options.length, dtype=torch.bool)
            self.register_buffer("causal", pairs.triu(1))

        def forward(self, source, target):
            positions, padding = self.positions.weight, source == 0
            x = self.blocks(
                self.source(source) + positions,
                self.target(target) + positions,
                tgt_mask=self.causal,
                src_key_padding_mask=padding,
                memory_key_padding_mask=padding,
                tgt_is_causal=True,
            )
            return self.logits(x)

    x, labels = random_batch(options.batch, options.length, options.vocabulary)
    return torch_step(Model(), [x["source"], x["target"]], labels, options.dtype_policy)


def limit(options):
    """Returns a function that computes the matrix products of the step and nothing else."""
    return run_products(products(options), options.dtype_policy.removeprefix("mixed_"))


def products(options):
    """Returns the matrix products of the step."""
    tokens, width = options.batch * options.length, options.hidden_dim
    layers, inner = options.layers, options.intermediate_dim
    heads = options.batch * options.heads  # each has its own products in an attention
    head = width // options.heads
    return with_gradients(
        [
            # query, key, value and output: of the encoder, and two in the decoder
            Product(tokens, width, width, 3 * 4 * layers),
            Product(options.length, head, options.length, 3 * layers, heads),  # scores
            Product(options.length, options.length, head, 3 * layers, heads),  # contexts
            Product(tokens, width, inner, 2 * layers),
            Product(tokens, inner, width, 2 * layers),
            Product(tokens, width, options.vocabulary),  # logits
        ]
    )
