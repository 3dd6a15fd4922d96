"""Milliseconds of a training step of a Transformer, ours and KerasHub's.

    python benchmarks/train_transformer.py

The same architecture from our layers and from those of KerasHub (in the test extra): as a plain
graph, with XLA, and in bfloat16 as a plain graph. They take turns in one process, so that a busy
machine slows all alike; the medians are printed. KerasHub's has positions that are learned and
output weights of its own, so ours is given the same.
"""

import keras
import keras_hub
from timing import data, medians, sizes

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
from keras_attention.training import MaskedCrossEntropy


def ours(options):
    """Our encoder-decoder."""

    def embedding(output=None):
        return TokenEmbedding(
            options.vocabulary,
            options.hidden_dim,
            output=output,
            positions="learned",
            max_length=options.length,
        )

    block = {"num_heads": options.heads, "intermediate_dim": options.ff, "dropout": 0.1}
    encoder = TransformerEncoder(make_blocks(EncoderBlock, options.layers, **block))
    return EncoderDecoder(
        TextEncoder(embedding(), encoder),
        TransformerDecoder(
            embedding("separate"), make_blocks(DecoderBlock, options.layers, **block)
        ),
    )


def theirs(options):
    """KerasHub's."""

    def embedding():
        return keras_hub.layers.TokenAndPositionEmbedding(
            options.vocabulary, options.length, options.hidden_dim, mask_zero=True
        )

    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    block = {"num_heads": options.heads, "dropout": 0.1, "normalize_first": True}
    x, y = embedding()(source), embedding()(target)
    for _ in range(options.layers):
        x = keras_hub.layers.TransformerEncoder(options.ff, **block)(x)
    for _ in range(options.layers):
        y = keras_hub.layers.TransformerDecoder(options.ff, **block)(y, x)
    logits = keras.layers.Dense(options.vocabulary)(y)
    return keras.Model({"source": source, "target": target}, logits)


def trainer(build, options, policy="float32", jit_compile=False):
    """A function that runs one step of training."""
    keras.config.set_dtype_policy(policy)
    model = build(options)
    keras.config.set_dtype_policy("float32")
    x, labels = data(options.batch, options.length, options.vocabulary)
    model.compile(keras.optimizers.Adam(1e-4), MaskedCrossEntropy(), jit_compile=jit_compile)
    return lambda: float(model.train_on_batch(x, labels))


def main():
    options = sizes(
        __doc__,
        batch=64,
        length=20,
        hidden_dim=256,
        heads=4,
        ff=1024,
        layers=3,
        vocabulary=8000,
        rounds=10,
    )
    ways = {"plain": {}, "XLA": {"jit_compile": True}, "bfloat16": {"policy": "mixed_bfloat16"}}
    found = medians(
        {
            (way, name): trainer(build, options, **how)
            for way, how in ways.items()
            for name, build in (("keras_attention", ours), ("KerasHub", theirs))
        },
        options.rounds,
    )
    for way in ways:
        mine, peer = found[way, "keras_attention"], found[way, "KerasHub"]
        print(
            f"training step, {way}: keras_attention {mine:.1f} ms, KerasHub {peer:.1f} ms, "
            f"{peer / mine:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
