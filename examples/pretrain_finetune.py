"""What pretraining is worth where labels are few: a tenth of the labels, with and without it.

    python examples/pretrain_finetune.py

It makes a small language. A text of twelve words has a topic, which is its class: five words of
that topic, one of another, six that every text may have. With few labels many words of a topic are
in no text that has one; but which words go together can be learned without labels. So an encoder
first fills in hidden words (Devlin et al. 2019), and then classifies.
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
parser.add_argument("--texts", type=int, default=20000, help="without labels, for pretraining")
parser.add_argument("--labels", type=int, default=1000, help="all of them; a tenth is used")
parser.add_argument("--epochs", type=int, default=8, help="of pretraining")
parser.add_argument("--steps", type=int, default=300, help="of every training with labels")
parser.add_argument("--seeds", type=int, default=3, help="sets of labels, for one pretraining")
options = parser.parse_args()

TOPICS, OF_TOPIC, OF_ALL = 8, 100, 100  # topics, words of each, words that all have
FIRST = 4  # ids below mean padding, start, end, unknown
VOCABULARY = FIRST + TOPICS * OF_TOPIC + OF_ALL
SIZES = {"num_layers": 2, "hidden_dim": 64, "intermediate_dim": 128, "num_heads": 4, "dropout": 0.1}


def make_texts(count, seed):
    """Ids (N, 12) and topics (N,)."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(TOPICS, size=(count, 1))
    other = (topic + rng.integers(1, TOPICS, (count, 1))) % TOPICS
    word = rng.integers(OF_TOPIC, size=(count, 6))
    about = FIRST + OF_TOPIC * np.concatenate([topic] * 5 + [other], axis=1) + word  # (N, 6)
    rest = FIRST + OF_TOPIC * TOPICS + rng.integers(OF_ALL, size=(count, 6))
    ids = rng.permuted(np.concatenate([about, rest], axis=1), axis=1)  # in any order
    return ids.astype("int32"), topic[:, 0]


def pretrain(ids):
    keras.utils.set_random_seed(0)
    model = masked_lm(VOCABULARY, **SIZES)
    model.compile(keras.optimizers.Adam(2e-3), MaskedCrossEntropy(), metrics=[Perplexity()])
    batches = MaskedTexts(ids, VOCABULARY, batch_size=128)
    found = model.fit(batches, epochs=options.epochs, verbose=0).history["perplexity"]
    print(
        f"Pretraining: perplexity of hidden words {found[0]:.0f} in the first epoch, "
        f"{found[-1]:.0f} in the last (of {VOCABULARY - FIRST} words)",
        flush=True,
    )
    return model


def encoder_of(pretrained):
    """A copy, for each training changes its own."""
    copy = type(pretrained).from_config(pretrained.get_config())
    copy.set_weights(pretrained.get_weights())
    return copy.encoder


def accuracy(model, ids, topics, optimizer):
    """Of new texts, after a training with these labels."""
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


def by_depth(pretrained, ids, topics):
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
WAYS = {
    "from scratch": (from_scratch, tenth),
    "pretrained, all weights trained": (fine_tuned, tenth),
    "pretrained, lower layers slower": (by_depth, tenth),
    "pretrained, LoRA of rank 4": (with_lora, tenth),
    "pretrained, encoder frozen": (frozen, tenth),
    "from scratch, all labels": (from_scratch, every),
}

test = make_texts(2000, seed=1)
pretrained = pretrain(make_texts(options.texts, seed=2)[0])
found = {way: [] for way in WAYS}
for seed in range(options.seeds):
    ids, topics = make_texts(options.labels, seed=100 + seed)
    for way, (train, count) in WAYS.items():
        keras.utils.set_random_seed(seed)
        found[way].append(train(pretrained, ids[:count], topics[:count]))

print(f"\nAccuracy on {len(test[0])} new texts in %, {options.seeds} sets of labels (chance: 12.5)")
print(f"{'':34}{'labels':>8}{'mean':>8}{'mask_value':>8}{'highest':>9}")
for way, values in found.items():
    print(f"{way:34}{WAYS[way][1]:>8}{np.mean(values):>8.1f}{min(values):>8.1f}{max(values):>9.1f}")
