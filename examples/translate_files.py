"""Trains a translator on two text files with `compile` and `fit`, to copy and change.

    python examples/translate_files.py train.en train.de --output models/en-de
    keras-attention generate models/en-de "a man on a ladder ."

Each line of one file is the translation of the same line of the other.
"""

import argparse
from pathlib import Path

import keras

from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.metrics import bleu
from keras_attention.models import seq2seq
from keras_attention.tasks import Translator
from keras_attention.text import SentencePieceTokenizer, bucketed_batches, read_parallel
from keras_attention.training import GenerationScore, MaskedCrossEntropy, SetEpoch, TokenAccuracy

parser = argparse.ArgumentParser()
parser.add_argument("source", help="file with one sentence per line (.gz allowed)")
parser.add_argument("target", help="file with their translations")
parser.add_argument("--output", type=Path, default=Path("models/translator"))
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--units", type=int, default=256)
parser.add_argument("--vocabulary", type=int, default=8000)
options = parser.parse_args()

# 1. Text. The last twentieth is the validation set; the tokenizers are trained on the rest.
pairs = read_parallel(options.source, options.target)
held_out = max(1, min(500, len(pairs) // 20))
train, validation = pairs[:-held_out], pairs[-held_out:]
sides = map(list, zip(*train, strict=True))
tokenizers = [SentencePieceTokenizer.train(side, options.vocabulary) for side in sides]

# 2. The model of Bahdanau et al. 2015: a bidirectional GRU encoder, a GRU decoder with attention.
sizes = [tokenizer.vocabulary_size for tokenizer in tokenizers]
model = seq2seq(*sizes, options.units, options.units, attention="bahdanau", dropout=0.3)

# 3. The optimizer clips gradients, accumulates those of two batches, and averages the weights.
model.compile(
    keras.optimizers.Adam(
        1e-3, global_clipnorm=1.0, gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.99
    ),
    MaskedCrossEntropy(label_smoothing=0.1),
    metrics=[TokenAccuracy()],
    jit_compile=True,  # XLA compiles at the first batch of each length
)

# 4. The complete task, text to text. It always uses the model's current weights.
translator = Translator(model, *tokenizers, GreedySearch(max_new_tokens=60))
sources, references = map(list, zip(*validation, strict=True))
options.output.mkdir(parents=True, exist_ok=True)
best = options.output / "best.weights.h5"
data = bucketed_batches(train, *tokenizers, batch_size=64, max_length=60)
model.fit(
    data,
    epochs=options.epochs,
    shuffle=False,  # the batches are shuffled already
    callbacks=[
        SetEpoch(data),  # a resumed training continues with the order of its epoch
        # resumes the training if the same command is run again after Ctrl-C
        keras.callbacks.BackupAndRestore(options.output / "backup"),
        # gives the next callbacks the averaged weights
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        # translates the validation set; comes before the callbacks that use the score
        GenerationScore(translator, sources, references, lambda a, b: bleu(a, b).score),
        keras.callbacks.ModelCheckpoint(
            best, monitor="val_bleu", mode="max", save_best_only=True, save_weights_only=True
        ),
        keras.callbacks.EarlyStopping(monitor="val_bleu", mode="max", patience=5),
    ],
)

# 5. Save the best weights with a better search, for `keras-attention generate`.
model.load_weights(best)
translator.strategy = BeamSearch(num_beams=5, max_new_tokens=60)
translator.save(options.output / "translator")
print(f"{sources[0]} -> {translator(sources[0])}")
