"""Trains a causal language model, generates text and exports it, to copy and change.

    python examples/generate_text.py
    python examples/generate_text.py lines.txt --prompt "I have" --output models/mine

The file has a text on each line; text after a tab is ignored. Without a file, the texts are
sentences of a small grammar in which a verb agrees with a noun several words before it.
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
parser.add_argument("file", nargs="?", help="file with a text per line (.gz allowed)")
parser.add_argument("--prompt", help="prompt; by default the start of unseen texts")
parser.add_argument("--output", type=Path, default=Path("models/text-generator"))
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--sentences", type=int, default=12000, help="number of texts")
parser.add_argument("--vocabulary", type=int, default=2000)
parser.add_argument("--layers", type=int, default=2)
parser.add_argument("--hidden-dim", type=int, default=128)
options = parser.parse_args()
keras.utils.set_random_seed(0)
rng = random.Random(0)


# 1. Text. No text of the test set is in the training set.
def noun_phrase(number, depth=0):
    nouns = ["dog", "cat", "girl", "teacher", "king", "horse", "boy", "bird", "farmer", "queen"]
    adjectives = ["old", "small", "tired", "clever", "hungry", "quiet", "young", "brave"]
    words = [rng.choice(["the", "this" if number == 0 else "these", "my"])]
    words += rng.sample(adjectives, rng.choice([0, 0, 1, 2]))
    words += [rng.choice(nouns) + ("s" if number else "")]
    if depth < 2 and rng.random() < 0.4:
        other = rng.randrange(2)
        verb = rng.choice(["see", "follow", "know", "help"]) + ("" if other else "s")
        words += ["that", *noun_phrase(other, depth + 1), verb]
    elif rng.random() < 0.3:
        place = rng.choice(["near", "behind", "with"])
        words += [place, *noun_phrase(rng.randrange(2), depth + 2)]
    return words


def sentence():
    number = rng.randrange(2)
    verb = rng.choice([["is", "are"], ["was", "were"], ["has been", "have been"]])[number]
    ends = ["in the garden", "at the river", "on the hill", "far away", "ready to leave", "at home"]
    when = rng.choice([["today"], ["again"], ["since noon"], []])
    return " ".join([*noun_phrase(number), verb, rng.choice(ends), *when, "."])


if options.file:
    texts = sorted({line.split("\t")[0] for line in read_lines(options.file)})
    rng.shuffle(texts)
    texts = texts[: options.sentences]
else:
    texts = list(dict.fromkeys(sentence() for _ in range(options.sentences)))
held_out = len(texts) // 10
train, test = texts[held_out:], texts[:held_out]
tokenizer = SentencePieceTokenizer.train(train, options.vocabulary)

# 2. Baselines: the next token by its frequency (unigram), and given the last token (bigram).
rows, unseen = (
    [[1, *ids] for ids in tokenizer.encode_ragged(part).to_list()] for part in (train, test)
)
unigrams = collections.Counter(id for ids in rows for id in ids[1:])
contexts = collections.Counter(id for ids in rows for id in ids[:-1])
bigrams = collections.Counter(pair for ids in rows for pair in zip(ids, ids[1:], strict=False))
total, size = sum(unigrams.values()), tokenizer.vocabulary_size


def unigram(previous, id):
    return (unigrams[id] + 1) / (total + size)


def bigram(previous, id):
    return (bigrams[previous, id] + 2 * unigram(previous, id)) / (contexts[previous] + 2)


def perplexity(model):
    pairs = [pair for ids in unseen for pair in zip(ids, ids[1:], strict=False)]
    return math.exp(-sum(math.log(model(*pair)) for pair in pairs) / len(pairs))


# 3. The model: a decoder-only Transformer. Several texts are packed into each row, so that there is
# little padding, and one shape for XLA to compile.
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
decay_steps = max(1, (options.epochs - 1) * len(data))  # after a warm-up of one epoch
model.compile(
    keras.optimizers.Adam(LinearWarmup(3e-3, len(data), decay_steps), global_clipnorm=1.0),
    MaskedCrossEntropy(),
    metrics=[Perplexity()],
    jit_compile=True,
)
model.fit(data, epochs=options.epochs, shuffle=False, verbose=2)
test_data = packed_batches(test, tokenizer, max(length, max(map(len, unseen))), 16, shuffle=False)
model_perplexity = model.evaluate(test_data, return_dict=True, verbose=0)["perplexity"]
print(
    f"perplexity of {len(test)} unseen texts: {model_perplexity:.2f}; "
    f"bigrams {perplexity(bigram):.2f}, unigrams {perplexity(unigram):.2f}"
)

# 4. The complete task, prompt to text. `stream` returns each piece as soon as it is generated.
strategy = Sampling(temperature=0.7, top_p=0.95, seed=1, max_new_tokens=40)
generator = TextGenerator(model, tokenizer, strategy, max_prompt_length=64)
prompts = [" ".join(text.split()[: 2 + i]) for i, text in enumerate(test[:3])]
for prompt in [options.prompt] if options.prompt is not None else prompts:
    print(f"{prompt} |", end="", flush=True)
    generator.stream(prompt, lambda piece: print(piece, end="", flush=True))
    print()

# 5. Exports. Each is run in its target runtime and compared with the model.
generator.save(options.output / "task")
for name, folder in (("saved_model", "serving"), ("tflite", "phone")):
    verification = generator.export(options.output / folder, name, prompts)
    agreement, latency = verification["agreement"], verification["median_milliseconds"]
    print(
        f"{verification['path']}: {agreement['equal']} of {agreement['compared']} outputs equal, "
        f"scores within {agreement['max_score_difference']:.1g}, "
        f"{sum(verification['bytes'].values()) / 1e6:.2f} MB, {latency['export']:.1f} ms per text"
    )
