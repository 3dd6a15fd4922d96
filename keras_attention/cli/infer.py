"""`keras-attention generate`, `evaluate` and `attention`: outputs of trained or exported models."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_attention.cli.printable import print_output
from keras_attention.cli.strategy import OPTIONS, strategy_from_options
from keras_attention.utils.atomic_io import replace_file
from keras_attention.utils.full_disk import explain_full_disk

if TYPE_CHECKING:
    from keras_attention.tasks import GeneratedText


def run_generate(options: argparse.Namespace) -> None:
    """Writes one line of output text for each input text."""
    texts = options.texts or _read_texts(options.input)
    batching = {
        name: getattr(options, name)
        for name in ("batch_size", "batch_tokens", "workers")
        if getattr(options, name) is not None
    }
    model = load_model(options)
    is_terminal = options.output is None and sys.stdout.isatty()
    with _open_output(options.output) as write:
        for output in generate_best(model, texts, show_progress=not is_terminal, **batching):
            write(output.text, f"{output.score:.4f}\t" if options.scores else "")


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
        with _open_output(options.output) as write:
            for line in hypotheses:
                write(line)
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


def generate_best(
    model: Any, texts: Iterable[str], show_progress: bool = True, **batching: int
) -> Iterator["GeneratedText"]:
    """Yields the best output for each text.

    Args:
        model: a task that generates text.
        texts: the texts.
        show_progress: whether to show a progress bar on standard error, if that is a terminal.
        **batching: arguments of `Task.predict_iterable`.
    """
    progress = show_progress and sys.stderr.isatty()
    results = model.predict_iterable(texts, progress=progress, **batching)
    while True:
        with contextlib.redirect_stdout(sys.stderr):  # where Keras draws the progress bar
            outputs = next(results, None)
        if outputs is None:
            return
        yield outputs[0]


@contextlib.contextmanager
def _open_output(path: Path | None) -> Iterator[Callable]:
    """Yields a function like `print_output` that writes to a file, or `print_output` itself.

    The file gets its name when everything is written.
    """
    if path is None:
        yield print_output
        return
    with explain_full_disk("The output", path.parent), replace_file(path) as partial:
        with open(partial, "w", encoding="utf-8", newline="\n") as file:
            yield lambda text, prefix="": print(prefix + text, file=file)


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


def _read_texts(path: str) -> Iterator[str]:
    from keras_attention.text.files import decode_lines, read_lines

    if path == "-":
        return decode_lines(sys.stdin.buffer, "standard input")
    return read_lines(path)
