"""Times a training step of a Transformer from this library and from KerasHub.

    python benchmarks/train_transformer.py

The same architecture is built from the layers of this library and of KerasHub (in the extra
`test`). It is trained in a plain graph, with XLA, and in bfloat16 in a plain graph. The variants
take turns in one process, so that other load on the machine slows all of them alike. Median times
are printed. As in KerasHub, positions are learned and the output weights are not tied.
"""

import keras
import keras_hub
from timing import median_milliseconds, parse_sizes, random_batch

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


def build_keras_attention(options):
    """Builds an encoder-decoder from the layers of this library."""

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


def build_keras_hub(options):
    """Builds the same model from KerasHub's layers."""

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


def make_training_step(build, options, policy="float32", jit_compile=False):
    """Returns a function that runs one training step."""
    keras.config.set_dtype_policy(policy)
    model = build(options)
    keras.config.set_dtype_policy("float32")
    x, labels = random_batch(options.batch, options.length, options.vocabulary)
    model.compile(keras.optimizers.Adam(1e-4), MaskedCrossEntropy(), jit_compile=jit_compile)
    return lambda: float(model.train_on_batch(x, labels))


def main():
    options = parse_sizes(
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
    variants = {"plain": {}, "XLA": {"jit_compile": True}, "bfloat16": {"policy": "mixed_bfloat16"}}
    times = median_milliseconds(
        {
            (variant, name): make_training_step(build, options, **arguments)
            for variant, arguments in variants.items()
            for name, build in (
                ("keras_attention", build_keras_attention),
                ("KerasHub", build_keras_hub),
            )
        },
        options.rounds,
    )
    for variant in variants:
        ours, theirs = times[variant, "keras_attention"], times[variant, "KerasHub"]
        print(
            f"training step, {variant}: keras_attention {ours:.1f} ms, KerasHub {theirs:.1f} ms, "
            f"{theirs / ours:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
