"""Trains a classifier of texts and writes it for TF Serving and for phones, to copy and change.

    python examples/classify.py
    python examples/classify.py lines.tsv --output models/mine

Each line of the file is a text, a tab and its label. Without a file it learns from dates, as people
write them in seven languages, which month they are in.
"""

import argparse
import random
from pathlib import Path

import keras

from keras_attention.datasets import dates
from keras_attention.models import classifier
from keras_attention.tasks import TextClassifier
from keras_attention.text import CharacterTokenizer, labeled_batches, read_parallel

parser = argparse.ArgumentParser()
parser.add_argument("file", nargs="?", help="text, tab, label on each line (.gz allowed)")
parser.add_argument("--output", type=Path, default=Path("models/classifier"))
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--dates", type=int, default=8000, help="how many to make without a file")
parser.add_argument("--layers", type=int, default=2)
parser.add_argument("--hidden-dim", type=int, default=64)
options = parser.parse_args()
keras.utils.set_random_seed(0)

# 1. Text. What is held out is not in the training; no date of it is there in another form either.
if options.file:
    pairs = sorted(set(read_parallel(options.file)))
    random.Random(0).shuffle(pairs)
    held_out = len(pairs) // 10
    train, test = pairs[held_out:], pairs[:held_out]
else:
    train, test = dates.split(dates.dates(options.dates), held_out=0.1)
    months = dates.MONTHS["en"].split()
    train, test = (
        [(text, months[int(iso[5:7]) - 1]) for text, iso in part] for part in (train, test)
    )
labels = sorted({label for _, label in train + test})
tokenizer = CharacterTokenizer.train([text for text, _ in train], lowercase=True)


def batches(pairs, shuffle):
    texts, names = zip(*pairs, strict=True)
    return labeled_batches(
        texts, [labels.index(name) for name in names], tokenizer, shuffle=shuffle
    )


# 2. The model: a Transformer's encoder, the mean over the text, one logit for each label.
model = classifier(
    tokenizer.vocabulary_size,
    len(labels),
    num_layers=options.layers,
    hidden_dim=options.hidden_dim,
    intermediate_dim=4 * options.hidden_dim,
    num_heads=4,
    dropout=0.1,
)
data = batches(train, shuffle=True)
rate = keras.optimizers.schedules.CosineDecay(3e-3, options.epochs * len(data))
model.compile(
    keras.optimizers.Adam(rate, global_clipnorm=1.0),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(
    data,
    validation_data=batches(test, shuffle=False),
    epochs=options.epochs,
    shuffle=False,  # the dataset does
    verbose=2,
)

# 3. The whole road, text to label. What was held out is asked as a user would.
task = TextClassifier(model, tokenizer, labels)
texts, names = zip(*test, strict=True)
right = sum(found == name for found, name in zip(task(texts), names, strict=True))
print(f"{right} of {len(test)} unseen texts have their label")
for text, (best, second, *_) in zip(texts[:5], task.classify(texts[:5]), strict=True):
    print(f"{text}: {best.label} {best.probability:.3f}, {second.label} {second.probability:.3f}")

# 4. Out of Python. Each export is run by the runtime that will run it, and says the same.
task.save(options.output / "task")
for name, folder in (("saved_model", "serving"), ("tflite", "phone")):
    proof = task.export(options.output / folder, name, texts[:20])
    agreement, spent = proof["agreement"], proof["median_milliseconds"]
    print(
        f"{name}: {agreement['equal']} of {agreement['compared']} answers equal, "
        f"probabilities within {agreement['max_score_difference']:.1g}, "
        f"{sum(proof['bytes'].values()) / 1e6:.2f} MB, {spent['export']:.1f} ms a text"
    )
