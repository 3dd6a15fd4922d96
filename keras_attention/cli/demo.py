"""`keras-attention demo`: the whole road in three minutes, on dates that it makes itself."""

import argparse
import math
from pathlib import Path

PAIRS, UNSEEN, LONGEST = 26_000, 1_000, 40
SHOWN = "Dienstag, den 3. März 1998"


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "demo",
        help="learn to read dates, export, prove: everything in three minutes",
        description="Learns to write dates in any of nine ways as ISO 8601, on data made here; "
        "then scores unseen dates, draws the attention, exports for TF Serving and for phones "
        "with proof, and reads the date that you type.",
        epilog="Example: keras-attention demo 'the 4th of july, 1976'",
    )
    command.add_argument("date", nargs="?", default=SHOWN, help=f"a date to read [{SHOWN}]")
    command.add_argument(
        "--output", type=Path, default=Path("demo"), metavar="FOLDER", help="gets the files [demo]"
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="[0]")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Trains, scores, draws, exports, translates."""
    from keras_attention.cli.export import report
    from keras_attention.cli.infer import answers
    from keras_attention.datasets import dates
    from keras_attention.viz import plot_alignment, save_figure

    pairs = dates.dates(PAIRS + UNSEEN, seed=options.seed)
    train, unseen = dates.split(pairs, held_out=UNSEEN / len(pairs), seed=options.seed)
    folder = options.output / "model"
    print(f"1. Learning from {len(train)} dates, such as {train[0][0]!r} -> {train[0][1]}")
    task = _train(train, unseen[:200], folder, options.seed)

    print(f"\n2. Reading {len(unseen)} dates that were not among them")
    texts, isos = map(list, zip(*unseen, strict=True))
    found = [best.text for best in answers(task, texts)]
    print(f"exact match: {100 * exact_match(found, isos):.1f}%")
    for text, iso, answer in zip(texts, isos, found, strict=True):
        if answer != iso:
            print(f"  wrong: {text!r} -> {answer}, not {iso}")

    looked = task.attention(SHOWN)
    picture = options.output / "alignment.png"
    save_figure(plot_alignment(looked.weights, looked.source, looked.target), picture)
    print(f"\n3. Where it looked while reading {SHOWN!r}: {picture}")

    print("\n4. Exports, each run and compared with the model")
    for format in ("saved_model", "tflite"):
        report(task.export(options.output / format, format, [*texts[:20], "no date", ""]))

    answer = task.generate([options.date])[0][0]
    print(f"\n5. {options.date!r} -> {answer.text}  (probability {math.exp(answer.score):.3f})")
    print(f"   More: keras-attention generate {folder} 'le 14 juillet 1989'")


def exact_match(hypotheses: list[str], references: list[str]) -> float:
    """The share of hypotheses that are their reference, letter by letter."""
    equal = [a == b for a, b in zip(hypotheses, references, strict=True)]
    return sum(equal) / len(equal)


def _train(train, validation, folder, seed):
    import keras

    from keras_attention.generation import GreedySearch
    from keras_attention.models import seq2seq
    from keras_attention.recipes.fit import fit
    from keras_attention.tasks import Translator
    from keras_attention.text import CharacterTokenizer

    keras.utils.set_random_seed(seed)
    letters = CharacterTokenizer.train([text for text, _ in train], lowercase=True)
    digits = CharacterTokenizer.train([iso for _, iso in train])
    sizes = letters.vocabulary_size, digits.vocabulary_size
    model = seq2seq(*sizes, embedding_dim=64, units=128, dropout=0.0)
    task = Translator(model, letters, digits, GreedySearch(max_new_tokens=12), LONGEST)
    fit(
        task,
        train,
        validation,
        folder,
        epochs=3,
        batch_size=128,
        max_length=LONGEST,
        learning_rate=3e-3,
        warmup_steps=50,
        label_smoothing=0.0,
        seed=seed,
        jit_compile=True,
        metric=exact_match,
        metric_name="val_exact",
    )
    return Translator.load(folder)
