"""Training step of an RNN encoder-decoder with attention: this library and keras.layers.

The peer in TensorFlow Addons is in `tfa_rnn.py`. Options: batch, length, embedding, units,
vocabulary, attention ("bahdanau" or "luong", which feeds its output to the next step), jit_compile.
"""

import keras

from steps.data import training_step
from steps.products import Product, run_products, with_gradients


def keras_attention(options):
    """Returns the step of `seq2seq` with a GRU."""
    from keras_attention.models import seq2seq

    model = seq2seq(
        options.vocabulary,
        options.vocabulary,
        options.embedding,
        options.units,
        attention=options.attention,
        input_feeding=options.attention == "luong",
        dropout=0.0,
    )
    return training_step(model, options)


def keras_layers(options):
    """Returns the step of a model with Keras's attention after the decoder's GRU.

    It does less: Keras's layers attend to all steps at once, so that no step reads the context of
    the one before.
    """
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    x, y = (
        keras.layers.Embedding(options.vocabulary, options.embedding, mask_zero=True)(ids)
        for ids in (source, target)
    )
    gru = {"return_sequences": True, "return_state": True}
    encoder = keras.layers.Bidirectional(keras.layers.GRU(options.units // 2, **gru))
    x, *states = encoder(x)
    y, _ = keras.layers.GRU(options.units, **gru)(
        y, initial_state=keras.ops.concatenate(states, -1)
    )
    additive = options.attention == "bahdanau"
    attention = keras.layers.AdditiveAttention if additive else keras.layers.Attention
    y = keras.ops.concatenate([y, attention()([y, x])], -1)
    y = keras.layers.Dense(options.embedding, "tanh")(y)
    logits = keras.layers.Dense(options.vocabulary)(y)
    return training_step(keras.Model({"source": source, "target": target}, logits), options)


def limit(options):
    """Returns a function that computes the matrix products of the step and nothing else."""
    return run_products(products(options))


def products(options):
    """Returns the matrix products of the step.

    Inputs known before a loop are multiplied at once, and so are the gradients of all weights.
    """
    batch, length, units = options.batch, options.length, options.units
    tokens, half, width = batch * length, units // 2, options.embedding
    forward_at_once = [
        Product(tokens, width, 3 * half, count=2),  # inputs of the encoder's GRU, both directions
        Product(tokens, units, units),  # keys
        Product(tokens, width, 3 * units),  # embedded targets, inputs of the decoder's GRU
        Product(tokens, units + units + width, width),  # before the logits
        Product(tokens, width, options.vocabulary),  # logits
    ]
    in_loops = [
        Product(batch, half, 3 * half, 2 * length),  # states of the encoder's GRU
        Product(batch, units, 3 * units, 2 * length),  # contexts and states of the decoder's GRU
        Product(batch, units, units, length),  # queries
        Product(1, units, length, length, batch),  # scores
        Product(1, length, units, length, batch),  # contexts
    ]
    return with_gradients(forward_at_once + in_loops)
