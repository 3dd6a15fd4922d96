"""Training step of an RNN encoder-decoder with the attention of TensorFlow Addons.

It runs in an environment of its own, with Keras 2; see `tfa_environment.py`. Options as in
`rnn.py`.
"""

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
from tensorflow import keras

from steps.data import random_batch


class Model(keras.Model):
    """GRU encoder-decoder with `AttentionWrapper`, trained by teacher forcing."""

    def __init__(self, options):
        super().__init__()
        self.options, units = options, options.units
        embedding, gru = keras.layers.Embedding, keras.layers.GRU
        self.source = embedding(options.vocabulary, options.embedding, mask_zero=True)
        self.target = embedding(options.vocabulary, options.embedding)
        self.encoder = keras.layers.Bidirectional(
            gru(units // 2, return_sequences=True, return_state=True)
        )
        additive = options.attention == "bahdanau"
        attention = tfa.seq2seq.BahdanauAttention if additive else tfa.seq2seq.LuongAttention
        self.attention = attention(units)
        self.cell = tfa.seq2seq.AttentionWrapper(
            keras.layers.GRUCell(units), self.attention, attention_layer_size=units
        )
        self.decoder = tfa.seq2seq.BasicDecoder(
            self.cell, tfa.seq2seq.TrainingSampler(), keras.layers.Dense(options.vocabulary)
        )

    def call(self, source, target, lengths):
        memory, *states = self.encoder(self.source(source))
        self.attention(memory, memory_sequence_length=lengths, setup_memory=True)
        batch, time = target.shape
        state = self.cell.get_initial_state(batch_size=batch, dtype=tf.float32)
        outputs, _, _ = self.decoder(
            self.target(target),
            initial_state=state.clone(cell_state=tf.concat(states, -1)),
            sequence_length=tf.fill([batch], time),
        )
        return outputs.rnn_output


def tfa_wrapper(options):
    """Returns the step of the model."""
    x, labels = random_batch(options.batch, options.length, options.vocabulary)
    lengths = np.count_nonzero(x["source"], axis=1)
    model, optimizer = Model(options), keras.optimizers.Adam(1e-4)
    loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    source, target, lengths, labels = map(tf.constant, (*x.values(), lengths, labels))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = loss_function(labels, model(source, target, lengths))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    model(source, target, lengths)
    return lambda: float(step())
