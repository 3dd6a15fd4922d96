"""BLEU and chrF of a whole corpus, by sacrebleu, with the signature that makes them comparable."""

from collections.abc import Sequence
from typing import NamedTuple

from sacrebleu.metrics import BLEU, CHRF

References = Sequence[str] | Sequence[Sequence[str]]


class Score(NamedTuple):
    """A score and the signature of how it was counted, without which it compares to no other."""

    score: float
    signature: str


def bleu(
    hypotheses: Sequence[str],
    references: References,
    tokenize: str = "13a",
    lowercase: bool = False,
) -> Score:
    """Corpus BLEU (Papineni et al., 2002), as sacrebleu counts it (Post, 2018).

    Args:
        hypotheses: Generated sentences.
        references: For each hypothesis a sentence, or a list of several.
        tokenize: sacrebleu's tokenizer: "13a" for raw text, "none" for text that is already
            tokenized, "intl", "zh", "char" and others.
        lowercase: Whether case is ignored.

    Returns:
        A `Score`.

    Raises:
        ValueError: if there is nothing to score, the two differ in length, or `tokenize` is
            unknown.

    Example:

    >>> bleu(["the cat sat on the mat"], ["the cat sat on the mat ."]).score.__round__(2)
    84.65
    """
    if tokenize not in BLEU.TOKENIZERS:
        raise ValueError(
            f"`tokenize` should be one of {sorted(BLEU.TOKENIZERS)}. Received: {tokenize!r}"
        )
    # force: tokenized text is scored on purpose, without sacrebleu's warning.
    metric = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    return score_of(metric, hypotheses, references)


def chrf(hypotheses: Sequence[str], references: References, lowercase: bool = False) -> Score:
    """Corpus chrF2 (Popović, 2015): F-score of character n-grams up to 6, recall weighing double.

    Args:
        hypotheses: Generated sentences.
        references: For each hypothesis a sentence, or a list of several.
        lowercase: Whether case is ignored.

    Returns:
        A `Score`.

    Raises:
        ValueError: if there is nothing to score, or the two differ in length.

    Example:

    >>> chrf(["the cat"], ["the cat"]).score
    100.0
    """
    return score_of(CHRF(lowercase=lowercase), hypotheses, references)


def corpus_scores(
    hypotheses: Sequence[str],
    references: References,
    tokenize: str = "13a",
    lowercase: bool = False,
) -> dict[str, Score]:
    """Both scores of a corpus.

    Args:
        hypotheses: Generated sentences.
        references: For each hypothesis a sentence, or a list of several.
        tokenize: As in `bleu`.
        lowercase: Whether case is ignored.

    Returns:
        `{"bleu": Score, "chrf": Score}`.

    Raises:
        ValueError: as `bleu`.
    """
    return {
        "bleu": bleu(hypotheses, references, tokenize, lowercase),
        "chrf": chrf(hypotheses, references, lowercase),
    }


def score_of(metric: BLEU | CHRF, hypotheses: Sequence[str], references: References) -> Score:
    """What a metric of sacrebleu gives a corpus."""
    rows = reference_lists(hypotheses, references)
    # sacrebleu wants one list per reference, `None` where a sentence has fewer.
    most = max(map(len, rows))
    streams = [[row[i] if i < len(row) else None for row in rows] for i in range(most)]
    result = metric.corpus_score(list(hypotheses), streams)
    return Score(result.score, metric.get_signature().format())


def reference_lists(hypotheses: Sequence[str], references: References) -> list[list[str]]:
    """The references as one list for each hypothesis, if there is something to score."""
    if not len(hypotheses) or len(hypotheses) != len(references):
        raise ValueError(
            "`hypotheses` and `references` should be of one length, at least 1. "
            f"Received: {len(hypotheses)} hypotheses, {len(references)} references"
        )
    rows = [[row] if isinstance(row, str) else list(row) for row in references]
    if not all(rows):
        raise ValueError(f"Each hypothesis should have a reference. Received: {rows.index([])}: []")
    return rows
