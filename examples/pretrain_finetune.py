"""Measures the value of pretraining with few labels, and compares ways of fine-tuning.

    python examples/pretrain_finetune.py

The texts are from a small artificial language. A text of twelve words has a topic, which is its
class: five words are from that topic, one from another topic, and six are common to all. With few
labels, many words of a topic occur in no labeled text. But words of one topic occur together, which
can be learned without labels. The encoder is therefore pretrained to predict masked words (Devlin
et al. 2019) and then trained to classify.
"""

import argparse

import keras
import numpy as np

from keras_attention.models import classifier, masked_lm
from keras_attention.training import (
    MaskedCrossEntropy,
    MaskedTexts,
    Perplexity,
    discriminative_rates,
    enable_lora,
)

parser = argparse.ArgumentParser()
parser.add_argument("--texts", type=int, default=20000, help="number of unlabeled texts")
parser.add_argument("--labels", type=int, default=1000, help="number of labeled texts")
parser.add_argument("--epochs", type=int, default=8, help="epochs of pretraining")
parser.add_argument("--steps", type=int, default=300, help="steps of each training with labels")
parser.add_argument("--seeds", type=int, default=3, help="number of labeled sets")
options = parser.parse_args()

TOPICS, TOPIC_WORDS, COMMON_WORDS = 8, 100, 100
FIRST = 4  # ids below are [PAD], [START], [END] and [UNK]
VOCABULARY = FIRST + TOPICS * TOPIC_WORDS + COMMON_WORDS
SIZES = {"num_layers": 2, "hidden_dim": 64, "intermediate_dim": 128, "num_heads": 4, "dropout": 0.1}


def make_texts(count, seed):
    """Returns ids (N, 12) and topics (N,)."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(TOPICS, size=(count, 1))
    other = (topic + rng.integers(1, TOPICS, (count, 1))) % TOPICS
    word = rng.integers(TOPIC_WORDS, size=(count, 6))
    about = FIRST + TOPIC_WORDS * np.concatenate([topic] * 5 + [other], axis=1) + word  # (N, 6)
    rest = FIRST + TOPIC_WORDS * TOPICS + rng.integers(COMMON_WORDS, size=(count, 6))
    ids = rng.permuted(np.concatenate([about, rest], axis=1), axis=1)  # shuffled
    return ids.astype("int32"), topic[:, 0]


def pretrain(ids):
    keras.utils.set_random_seed(0)
    model = masked_lm(VOCABULARY, **SIZES)
    model.compile(keras.optimizers.Adam(2e-3), MaskedCrossEntropy(), metrics=[Perplexity()])
    batches = MaskedTexts(ids, VOCABULARY, batch_size=128)
    perplexities = model.fit(batches, epochs=options.epochs, verbose=0).history["perplexity"]
    print(
        f"Pretraining: perplexity of masked words {perplexities[0]:.0f} in the first epoch, "
        f"{perplexities[-1]:.0f} in the last (of {VOCABULARY - FIRST} words)",
        flush=True,
    )
    return model


def encoder_of(pretrained):
    """Returns a copy of the encoder, because each training changes its weights."""
    copy = type(pretrained).from_config(pretrained.get_config())
    copy.set_weights(pretrained.get_weights())
    return copy.encoder


def accuracy(model, ids, topics, optimizer):
    """Trains a classifier and returns its accuracy on new texts."""
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    epochs = max(1, options.steps * 32 // len(ids))
    model.fit(ids, topics, batch_size=32, epochs=epochs, verbose=0)
    return 100 * model.evaluate(*test, verbose=0)[1]


def adam(rate=1e-3):
    return keras.optimizers.Adam(rate)


def from_scratch(pretrained, ids, topics):
    return accuracy(classifier(VOCABULARY, TOPICS, **SIZES), ids, topics, adam())


def fine_tuned(pretrained, ids, topics):
    model = classifier(VOCABULARY, TOPICS, dropout=0.1, encoder=encoder_of(pretrained))
    return accuracy(model, ids, topics, adam())


def lower_layers_slower(pretrained, ids, topics):
    model = classifier(VOCABULARY, TOPICS, dropout=0.1, encoder=encoder_of(pretrained))
    layers = [model.encoder.embedding, *model.encoder.body.blocks]
    return accuracy(model, ids, topics, discriminative_rates(adam(), layers))


def frozen(pretrained, ids, topics):
    model = classifier(VOCABULARY, TOPICS, dropout=0.1, encoder=encoder_of(pretrained))
    model.encoder.trainable = False
    return accuracy(model, ids, topics, adam(1e-2))


def with_lora(pretrained, ids, topics):
    model = classifier(VOCABULARY, TOPICS, dropout=0.1, encoder=encoder_of(pretrained))
    enable_lora(model.encoder, rank=4)
    return accuracy(model, ids, topics, adam(5e-3))


tenth, every = options.labels // 10, options.labels
METHODS = {
    "from scratch": (from_scratch, tenth),
    "pretrained, all weights trained": (fine_tuned, tenth),
    "pretrained, lower layers slower": (lower_layers_slower, tenth),
    "pretrained, LoRA of rank 4": (with_lora, tenth),
    "pretrained, encoder frozen": (frozen, tenth),
    "from scratch, all labels": (from_scratch, every),
}

test = make_texts(2000, seed=1)
pretrained = pretrain(make_texts(options.texts, seed=2)[0])
accuracies = {method: [] for method in METHODS}
for seed in range(options.seeds):
    ids, topics = make_texts(options.labels, seed=100 + seed)
    for method, (train, count) in METHODS.items():
        keras.utils.set_random_seed(seed)
        accuracies[method].append(train(pretrained, ids[:count], topics[:count]))

print(f"\nAccuracy on {len(test[0])} new texts in %, {options.seeds} labeled sets (chance: 12.5)")
print(f"{'':34}{'labels':>8}{'mean':>8}{'lowest':>8}{'highest':>9}")
for method, values in accuracies.items():
    print(
        f"{method:34}{METHODS[method][1]:>8}{np.mean(values):>8.1f}{min(values):>8.1f}{max(values):>9.1f}"
    )
