"""Trains a text classifier and exports it to TF Serving and TFLite, to copy and change.

    python examples/classify.py
    python examples/classify.py lines.tsv --output models/mine

Each line of the file is a text, a tab and its label. Without a file, the texts are dates in seven
languages and the labels are their months.
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
parser.add_argument("file", nargs="?", help="file with a text, a tab and a label per line (.gz)")
parser.add_argument("--output", type=Path, default=Path("models/classifier"))
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--dates", type=int, default=8000, help="number of dates, without a file")
parser.add_argument("--layers", type=int, default=2)
parser.add_argument("--hidden-dim", type=int, default=64)
options = parser.parse_args()
keras.utils.set_random_seed(0)

# 1. Text. No date of the test set is in the training set, not even in another form.
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


# 2. The model: a Transformer encoder, the mean over the text, and a logit for each label.
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
    shuffle=False,  # the dataset is shuffled
    verbose=2,
)

# 3. The complete task, text to label, on the test set.
task = TextClassifier(model, tokenizer, labels)
texts, names = zip(*test, strict=True)
correct = sum(label == name for label, name in zip(task(texts), names, strict=True))
print(f"{correct} of {len(test)} unseen texts are labeled correctly")
for text, (best, second, *_) in zip(texts[:5], task.classify(texts[:5]), strict=True):
    print(f"{text}: {best.label} {best.probability:.3f}, {second.label} {second.probability:.3f}")

# 4. Exports. Each is run in its target runtime and compared with the model.
task.save(options.output / "task")
for name, folder in (("saved_model", "serving"), ("tflite", "phone")):
    verification = task.export(options.output / folder, name, texts[:20])
    agreement, latency = verification["agreement"], verification["median_milliseconds"]
    print(
        f"{name}: {agreement['equal']} of {agreement['compared']} outputs equal, "
        f"probabilities within {agreement['max_score_difference']:.1g}, "
        f"{sum(verification['bytes'].values()) / 1e6:.2f} MB, {latency['export']:.1f} ms per text"
    )
