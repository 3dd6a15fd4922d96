"""`keras-attention generate`, `evaluate` and `attention`: outputs of trained or exported models."""

import argparse
import contextlib
import sys
from typing import Any

from keras_attention.cli.printable import print_output
from keras_attention.cli.strategy import OPTIONS, strategy_from_options


def run_generate(options: argparse.Namespace) -> None:
    """Prints one line of output text for each input text."""
    texts = options.texts or _read_texts(options.input)
    for output in generate_best(load_model(options), texts):
        score = f"{output.score:.4f}\t" if options.scores else ""
        print_output(output.text, score)


def run_evaluate(options: argparse.Namespace) -> None:
    """Prints BLEU and chrF with their signatures."""
    from keras_attention.metrics import bleu, corpus_scores
    from keras_attention.text import read_parallel

    bleu(["one"], ["one"], options.bleu_tokenize)  # an unknown name fails before generation
    pairs = read_parallel(options.source, options.target)
    if not pairs:
        raise ValueError(f"`--source` must have at least one line. Received: {options.source!r}")
    sources, references = map(list, zip(*pairs, strict=True))
    hypotheses = [output.text for output in generate_best(load_model(options), sources)]
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text("".join(f"{line}\n" for line in hypotheses), encoding="utf-8")
    scores = corpus_scores(hypotheses, references, options.bleu_tokenize, options.lowercase)
    for name, (score, signature) in scores.items():
        print(f"{name}: {score:.2f}  ({signature})")


def run_attention(options: argparse.Namespace) -> None:
    """Draws the attention weights of one output."""
    from keras_attention.tasks import Captioner
    from keras_attention.viz import plot_alignment, save_figure

    task = _require_text_output(load_trained(options), options)
    if isinstance(task, Captioner):
        raise ValueError(f"The task must have text as its input. Received: {str(options.model)!r}")
    alignment = task.attention(options.text)
    figure = plot_alignment(alignment.weights, alignment.source, alignment.target)
    save_figure(figure, options.output)
    print_output(" ".join(alignment.target))
    print(f"The picture is in {options.output}")


def generate_best(model: Any, texts: list[str]) -> list:
    """Returns the best output for each text.

    A progress bar is shown on standard error if that is a terminal.
    """
    progress = len(texts) > 1 and sys.stderr.isatty()
    with contextlib.redirect_stdout(sys.stderr):  # Keras draws progress bars on standard output
        return [outputs[0] for outputs in model.generate(texts, progress=progress)]


def load_model(options: argparse.Namespace) -> Any:
    """Loads a trained task or an export; both have `generate`.

    Raises:
        ValueError: If the folder holds neither, or something that does not generate text, or an
            option changes the strategy of an export.
    """
    from keras_attention.interop.marian import is_marian

    is_trained = (options.model / "model.keras").is_file() or is_marian(options.model)
    if options.revision or is_trained or not options.model.is_dir():
        return _require_text_output(load_trained(options), options)
    for name in OPTIONS:
        if getattr(options, name) is not None:
            raise ValueError(
                f"`--{name.replace('_', '-')}` requires a trained task, since the strategy of an "
                f"export is fixed. Received: {str(options.model)!r}"
            )
    from keras_attention.tasks import load_exported

    return _require_text_output(load_exported(options.model), options)


def load_trained(options: argparse.Namespace) -> Any:
    """Loads a trained task, with the strategy of the command line.

    Raises:
        ValueError: If the folder holds no trained task, or it generates nothing and an option
            changes the strategy.
    """
    from keras_attention.interop.marian import is_marian
    from keras_attention.tasks import GenerationTask, Translator, load_task

    if options.revision:
        task: Any = Translator.from_marian(str(options.model), revision=options.revision)
    elif is_marian(options.model):
        task = Translator.from_marian(options.model)
    elif (options.model / "model.keras").is_file():
        task = load_task(options.model)
    else:
        raise ValueError(
            "The model must be the folder of a trained task or of a Marian model. "
            f"Received: {str(options.model)!r}"
        )
    if isinstance(task, GenerationTask):
        task.strategy = strategy_from_options(options, task.strategy)
    elif any(getattr(options, name) is not None for name in OPTIONS):
        raise ValueError(
            "`--num-beams`, `--length-penalty` and `--max-new-tokens` require a task that "
            f"generates text. Received: {str(options.model)!r}"
        )
    return task


def _require_text_output(task: Any, options: argparse.Namespace) -> Any:
    from keras_attention.tasks import GenerationTask

    if not isinstance(task, GenerationTask):
        raise ValueError(
            f"The model must generate text. Received: {str(options.model)!r}, which predicts labels"
        )
    return task


def _read_texts(path: str) -> list[str]:
    from keras_attention.text.files import decode_lines, read_lines

    if path == "-":
        return list(decode_lines(sys.stdin.buffer, "standard input"))
    return list(read_lines(path))
