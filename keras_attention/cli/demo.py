"""`keras-attention demo`: a complete run in about three minutes, on generated dates."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from _keras_attention_cli.demo import DATE

if TYPE_CHECKING:
    from keras_attention.tasks import Translator

NUM_TRAIN, NUM_TEST, MAX_LENGTH = 26_000, 1_000, 40
Pair = tuple[str, str]


def run(options: argparse.Namespace) -> None:
    """Trains, evaluates, draws attention weights, exports, and converts one date."""
    from keras_attention.cli.export import print_verification
    from keras_attention.datasets import dates

    pairs = dates.dates(NUM_TRAIN + NUM_TEST, seed=options.seed)
    train, test = dates.split(pairs, held_out=NUM_TEST / len(pairs), seed=options.seed)
    folder = options.output / "model"
    print(f"1. Training on {len(train)} dates, such as {train[0][0]!r} -> {train[0][1]}")
    task = _train(train, test[:200], folder, options.seed)

    print(f"\n2. Evaluating on {len(test)} unseen dates")
    _print_exact_match(task, test)

    picture = options.output / "alignment.png"
    _draw_attention(task, picture)
    print(f"\n3. Attention weights of {DATE!r}: {picture}")

    print("\n4. Exports, each run and compared with the model")
    samples = [text for text, _ in test[:20]] + ["no date", ""]
    for format in ("saved_model", "tflite"):
        print_verification(task.export(options.output / format, format, samples))

    output = task.generate([options.date])[0][0]
    probability = math.exp(output.score)
    print(f"\n5. {options.date!r} -> {output.text}  (probability {probability:.3f})")
    print(f"   Try: keras-attention generate {folder} 'le 14 juillet 1989'")


def exact_match(hypotheses: list[str], references: list[str]) -> float:
    """Returns the fraction of hypotheses that are equal to their reference."""
    equal = [a == b for a, b in zip(hypotheses, references, strict=True)]
    return sum(equal) / len(equal)


def _train(train: list[Pair], validation: list[Pair], folder: Path, seed: int) -> "Translator":
    import keras

    from keras_attention.generation import GreedySearch
    from keras_attention.models import seq2seq
    from keras_attention.recipes import TrainingConfig, fit
    from keras_attention.tasks import Translator
    from keras_attention.text import CharacterTokenizer

    keras.utils.set_random_seed(seed)
    source = CharacterTokenizer.train([text for text, _ in train], lowercase=True)
    target = CharacterTokenizer.train([iso for _, iso in train])
    model = seq2seq(
        source.vocabulary_size, target.vocabulary_size, embedding_dim=64, units=128, dropout=0.0
    )
    task = Translator(model, source, target, GreedySearch(max_new_tokens=12), MAX_LENGTH)
    config = TrainingConfig(
        epochs=3,
        batch_size=128,
        max_length=MAX_LENGTH,
        learning_rate=5e-3,
        warmup_steps=50,
        label_smoothing=0.0,
        seed=seed,
        jit_compile=True,
        metric=exact_match,
        metric_name="val_exact",
    )
    fit(task, train, validation, folder, config)
    return Translator.load(folder)


def _print_exact_match(task: "Translator", pairs: list[Pair]) -> None:
    from keras_attention.cli.infer import generate_best

    sources, references = map(list, zip(*pairs, strict=True))
    hypotheses = [output.text for output in generate_best(task, sources)]
    print(f"exact match: {100 * exact_match(hypotheses, references):.1f}%")
    for source, reference, hypothesis in zip(sources, references, hypotheses, strict=True):
        if hypothesis != reference:
            print(f"  wrong: {source!r} -> {hypothesis}, expected {reference}")


def _draw_attention(task: "Translator", picture: Path) -> None:
    from keras_attention.viz import plot_alignment, save_figure

    alignment = task.attention(DATE)
    save_figure(plot_alignment(alignment.weights, alignment.source, alignment.target), picture)
