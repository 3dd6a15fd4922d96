"""A file with rounded numbers is proven by what it is for: how well it answers."""

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_attention.export.verification.compare import BATCH, ExportError
from keras_attention.export.verification.tolerances import MOST_LOST
from keras_attention.metrics import bleu


def prove(
    task: Any,
    run: Callable,
    trials: list,
    references: Sequence | None,
    count: int,
    allow_loss: bool,
) -> dict:
    """Scores what a file answers beside what the model answers.

    Args:
        task: what was exported.
        run: the file's.
        trials: from the task; what the model answers with the same words alone and in a batch, the
            file must, too.
        references: for each of the first trials the right answer; None takes the model's.
        count: how many of the trials are scored.
        allow_loss: whether a file that loses more than `MOST_LOST` points is as good.

    Returns:
        How many answers are the model's, and the scores.

    Raises:
        ExportError: if the file's words depend on the batch, or it loses more.
    """
    (expected, ours), (received, theirs) = (
        (_answers(task, each, trials, 1), _answers(task, each, trials, BATCH))
        for each in (task.run, run)
    )
    for text, *same, alone, together in zip(trials, expected, ours, received, theirs, strict=True):
        if same[0] == same[1] and alone != together:  # samples differ by their place in a batch
            raise ExportError(
                f"Expected the same answer in any batch to {repr(text)[:80]}: {alone!r} alone. "
                f"Received: {together!r} in a batch of up to {BATCH}"
            )
    right = expected[:count] if references is None else references
    model, export = (score(task.gives, x[:count], right) for x in (expected, received))
    said = {
        "against": "the model's own answers" if references is None else "references",
        "sentences": count,
        "model": model,
        "export": export,
        "most_lost": MOST_LOST,
        "loss_allowed": allow_loss,
    }
    if max(model[name] - export[name] for name in model) > MOST_LOST and not allow_loss:
        raise ExportError(
            f"Expected at most {MOST_LOST} below the model's {model} on {count} sentences, "
            f"against {said['against']}; with allow_loss=True it is written as it is. "
            f"Received: {export}"
        )
    equal = sum(a == b for a, b in zip(expected, received, strict=True))
    return {"agreement": {"answers": len(trials), "equal": equal}, "scores": said}


def score(gives: str, answers: Sequence, references: Sequence) -> dict[str, float]:
    """How good answers are, of 100.

    Args:
        gives: the kind of answer: `"label"`, `"tags"`, or another, which is text.
        answers: strings, or for tags a list of them for each sentence.
        references: one right answer for each; several, in a list, where it is text.

    Returns:
        `accuracy` of labels or of the tags of all words, or `exact_match` and `bleu`.

    Example:

    >>> score("tags", [["noun", "verb"], ["noun"]], [["noun", "noun"], ["noun", "verb"]])
    {'accuracy': 50.0}
    """
    if gives == "tags":
        rows = zip(answers, references, strict=True)  # words beyond the longest text have no tag
        right = sum(a == b for row in rows for a, b in zip(*row, strict=False))
        return {"accuracy": 100 * right / max(1, sum(map(len, references)))}
    several = [[x] if isinstance(x, str) else list(x) for x in references]
    match = 100 * float(np.mean([a in row for a, row in zip(answers, several, strict=True)]))
    if gives == "label":
        return {"accuracy": match}
    return {"exact_match": match, "bleu": bleu(answers, several).score}


def _answers(task, run, texts, batch_size):
    """What the task says when its ids are answered by `run`."""
    asked = copy.copy(task)
    asked.run = run
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one text is too long on purpose
        answers = [asked._short(answer) for answer in asked._answers(texts, batch_size)]
    return [[tag.tag for tag in row] for row in answers] if task.gives == "tags" else answers
