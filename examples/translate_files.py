"""Trains a translator on two files with Keras's own tools, to copy and change.

    python examples/translate_files.py train.en train.de --output models/en-de
    keras-attention generate models/en-de "a man on a ladder ."

Line N of the one file translates line N of the other.
"""

import argparse
from pathlib import Path

import keras

from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.metrics import bleu
from keras_attention.models import seq2seq
from keras_attention.tasks import Translator
from keras_attention.text import SentencePieceTokenizer, bucketed_batches, read_parallel
from keras_attention.training import GenerationScore, MaskedCrossEntropy, TokenAccuracy

parser = argparse.ArgumentParser()
parser.add_argument("source", help="sentences, one a line (.gz allowed)")
parser.add_argument("target", help="their translations")
parser.add_argument("--output", type=Path, default=Path("models/translator"))
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--units", type=int, default=256)
parser.add_argument("--vocabulary", type=int, default=8000)
options = parser.parse_args()

# 1. Text. The last twentieth is held out to see how well it goes. Tokenizers learn from the rest.
pairs = read_parallel(options.source, options.target)
held_out = max(1, min(500, len(pairs) // 20))
train, validation = pairs[:-held_out], pairs[-held_out:]
sides = map(list, zip(*train, strict=True))
tokenizers = [SentencePieceTokenizer.train(side, options.vocabulary) for side in sides]

# 2. The model of Bahdanau et al. 2015: a bidirectional GRU that reads, a GRU that looks and writes.
sizes = [tokenizer.vocabulary_size for tokenizer in tokenizers]
model = seq2seq(*sizes, options.units, options.units, attention="bahdanau", dropout=0.3)

# 3. Keras's optimizer clips gradients, adds up those of two batches, and averages the weights.
model.compile(
    keras.optimizers.Adam(
        1e-3, global_clipnorm=1.0, gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.99
    ),
    MaskedCrossEntropy(label_smoothing=0.1),
    metrics=[TokenAccuracy()],
    jit_compile=True,  # XLA: the first batch of each length waits for the compiler
)

# 4. The whole road, text to text. It reads the model's weights whenever it is called.
translate = Translator(model, *tokenizers, GreedySearch(max_new_tokens=60))
sources, references = map(list, zip(*validation, strict=True))
options.output.mkdir(parents=True, exist_ok=True)
best = options.output / "best.weights.h5"
model.fit(
    bucketed_batches(train, *tokenizers, batch_size=64, max_length=60),
    epochs=options.epochs,
    callbacks=[
        # after Ctrl-C the same command goes on from here
        keras.callbacks.BackupAndRestore(options.output / "backup"),
        # what follows sees the averaged weights
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        # translates the held-out sentences; before the callbacks that read its score
        GenerationScore(translate, sources, references, lambda a, b: bleu(a, b).score),
        keras.callbacks.ModelCheckpoint(
            best, monitor="val_bleu", mode="max", save_best_only=True, save_weights_only=True
        ),
        keras.callbacks.EarlyStopping(monitor="val_bleu", mode="max", patience=5),
    ],
)

# 5. The best weights, a better search, and all of it in a folder that the command line takes.
model.load_weights(best)
translate.strategy = BeamSearch(num_beams=5, max_new_tokens=60)
translate.save(options.output / "translator")
print(f"{sources[0]} -> {translate(sources[0])}")
