"""Trains a language model, has it write, and brings it out of Python, to copy and change.

    python examples/write.py
    python examples/write.py lines.txt --prompt "I have" --output models/mine

The file has a text on each line; what comes after a tab is left out. Without a file it learns from
sentences of a small grammar, in which a verb agrees with a noun that is not beside it.
"""

import argparse
import collections
import math
import random
from pathlib import Path

import keras

from keras_attention.generation import Sampling
from keras_attention.models import causal_lm
from keras_attention.tasks import TextGenerator
from keras_attention.text import SentencePieceTokenizer, packed_batches, read_lines
from keras_attention.training import LinearWarmup, MaskedCrossEntropy, Perplexity

parser = argparse.ArgumentParser()
parser.add_argument("file", nargs="?", help="a text on each line (.gz allowed)")
parser.add_argument("--prompt", help="what to go on from; by default how an unseen text begins")
parser.add_argument("--output", type=Path, default=Path("models/writer"))
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--sentences", type=int, default=12000, help="to make, or to read of the file")
parser.add_argument("--vocabulary", type=int, default=2000)
parser.add_argument("--layers", type=int, default=2)
parser.add_argument("--hidden-dim", type=int, default=128)
options = parser.parse_args()
keras.utils.set_random_seed(0)
choose = random.Random(0)


# 1. Text. What is held out is not in the training.
def noun_phrase(number, depth=0):
    nouns = ["dog", "cat", "girl", "teacher", "king", "horse", "boy", "bird", "farmer", "queen"]
    adjectives = ["old", "small", "tired", "clever", "hungry", "quiet", "young", "brave"]
    words = [choose.choice(["the", "this" if number == 0 else "these", "my"])]
    words += choose.sample(adjectives, choose.choice([0, 0, 1, 2]))
    words += [choose.choice(nouns) + ("s" if number else "")]
    if depth < 2 and choose.random() < 0.4:
        other = choose.randrange(2)
        verb = choose.choice(["see", "follow", "know", "help"]) + ("" if other else "s")
        words += ["that", *noun_phrase(other, depth + 1), verb]
    elif choose.random() < 0.3:
        place = choose.choice(["near", "behind", "with"])
        words += [place, *noun_phrase(choose.randrange(2), depth + 2)]
    return words


def sentence():
    number = choose.randrange(2)
    verb = choose.choice([["is", "are"], ["was", "were"], ["has been", "have been"]])[number]
    ends = ["in the garden", "at the river", "on the hill", "far away", "ready to leave", "at home"]
    when = choose.choice([["today"], ["again"], ["since noon"], []])
    return " ".join([*noun_phrase(number), verb, choose.choice(ends), *when, "."])


if options.file:
    texts = sorted({line.split("\t")[0] for line in read_lines(options.file)})
    choose.shuffle(texts)
    texts = texts[: options.sentences]
else:
    texts = list(dict.fromkeys(sentence() for _ in range(options.sentences)))
held_out = len(texts) // 10
train, test = texts[held_out:], texts[:held_out]
tokenizer = SentencePieceTokenizer.train(train, options.vocabulary)

# 2. What counting reaches: the next token by itself, and by the one before it.
rows, unseen = (
    [[1, *ids] for ids in tokenizer.encode_ragged(part).to_list()] for part in (train, test)
)
ones = collections.Counter(id for ids in rows for id in ids[1:])
befores = collections.Counter(id for ids in rows for id in ids[:-1])
twos = collections.Counter(pair for ids in rows for pair in zip(ids, ids[1:], strict=False))
total, size = sum(ones.values()), tokenizer.vocabulary_size


def unigram(before, id):
    return (ones[id] + 1) / (total + size)


def bigram(before, id):
    return (twos[before, id] + 2 * unigram(before, id)) / (befores[before] + 2)


def perplexity(model):
    pairs = [pair for ids in unseen for pair in zip(ids, ids[1:], strict=False)]
    return math.exp(-sum(math.log(model(*pair)) for pair in pairs) / len(pairs))


# 3. The model: a Transformer's decoder alone. Rows are full of texts, so there is one shape for
# XLA to compile, and little padding.
length = max(max(map(len, rows)), 64)
model = causal_lm(
    size,
    num_layers=options.layers,
    hidden_dim=options.hidden_dim,
    intermediate_dim=4 * options.hidden_dim,
    num_heads=4,
    dropout=0.1,
)
data = packed_batches(train, tokenizer, length, batch_size=16)
model.compile(
    keras.optimizers.Adam(
        LinearWarmup(3e-3, len(data), options.epochs * len(data)), global_clipnorm=1.0
    ),
    MaskedCrossEntropy(),
    metrics=[Perplexity()],
    jit_compile=True,
)
model.fit(data, epochs=options.epochs, shuffle=False, verbose=2)
rest = packed_batches(test, tokenizer, max(length, max(map(len, unseen))), 16, shuffle=False)
reached = model.evaluate(rest, return_dict=True, verbose=0)["perplexity"]
print(
    f"perplexity of {len(test)} unseen texts: {reached:.2f}; "
    f"by pairs of tokens {perplexity(bigram):.2f}, by single tokens {perplexity(unigram):.2f}"
)

# 4. The whole road, prompt to text, and each piece as soon as it is there.
strategy = Sampling(temperature=0.7, top_p=0.95, seed=1, max_new_tokens=40)
writer = TextGenerator(model, tokenizer, strategy, max_prompt_length=64)
prompts = [" ".join(text.split()[: 2 + i]) for i, text in enumerate(test[:3])]
for prompt in [options.prompt] if options.prompt is not None else prompts:
    print(f"{prompt} |", end="", flush=True)
    writer.stream(prompt, lambda piece: print(piece, end="", flush=True))
    print()

# 5. Out of Python. Each export is run by the runtime that will run it, and writes the same.
writer.save(options.output / "task")
for name, folder in (("saved_model", "serving"), ("tflite", "phone")):
    proof = writer.export(options.output / folder, name, prompts)
    agreement, spent = proof["agreement"], proof["median_milliseconds"]
    print(
        f"{proof['path']}: {agreement['equal']} of {agreement['compared']} answers equal, "
        f"scores within {agreement['max_score_difference']:.1g}, "
        f"{sum(proof['bytes'].values()) / 1e6:.2f} MB, {spent['export']:.1f} ms a text"
    )
