"""Corpus BLEU and chrF, computed by sacrebleu, with the signature that makes them comparable."""

from collections.abc import Sequence
from typing import NamedTuple

from sacrebleu.metrics import BLEU, CHRF

from keras_attention.utils.validation import check_texts

References = Sequence[str] | Sequence[Sequence[str]]


class Score(NamedTuple):
    """A score and the sacrebleu signature that says how it was computed.

    Only scores with the same signature can be compared.

    Attributes:
        score: The value of the metric.
        signature: Tokenizer, casing, smoothing and version.
    """

    score: float
    signature: str


def bleu(
    hypotheses: Sequence[str],
    references: References,
    tokenize: str = "13a",
    lowercase: bool = False,
) -> Score:
    """Computes corpus BLEU (Papineni et al., 2002) with sacrebleu (Post, 2018).

    Args:
        hypotheses: Generated sentences.
        references: For each hypothesis, a reference sentence or a list of them.
        tokenize: Tokenizer of sacrebleu: `"13a"` for raw text, `"none"` for text that is already
            tokenized, `"intl"`, `"zh"`, `"char"` and others.
        lowercase: Whether to ignore case.

    Returns:
        A `Score`.

    Raises:
        ValueError: If there are no hypotheses, the two lists differ in length, or `tokenize` is
            unknown.

    Example:

    >>> bleu(["the cat sat on the mat"], ["the cat sat on the mat ."]).score.__round__(2)
    84.65
    """
    if tokenize not in BLEU.TOKENIZERS:
        raise ValueError(
            f"`tokenize` must be one of {sorted(BLEU.TOKENIZERS)}. Received: tokenize={tokenize!r}"
        )
    # `force` silences the warning about tokenized text, which is scored on purpose.
    metric = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    return compute_score(metric, hypotheses, references)


def chrf(hypotheses: Sequence[str], references: References, lowercase: bool = False) -> Score:
    """Computes corpus chrF2 (Popović, 2015).

    This is the F-score of character n-grams up to length 6, in which recall counts twice as much as
    precision.

    Args:
        hypotheses: Generated sentences.
        references: For each hypothesis, a reference sentence or a list of them.
        lowercase: Whether to ignore case.

    Returns:
        A `Score`.

    Raises:
        ValueError: If there are no hypotheses, or the two lists differ in length.

    Example:

    >>> chrf(["the cat"], ["the cat"]).score
    100.0
    """
    return compute_score(CHRF(lowercase=lowercase), hypotheses, references)


def corpus_scores(
    hypotheses: Sequence[str],
    references: References,
    tokenize: str = "13a",
    lowercase: bool = False,
) -> dict[str, Score]:
    """Computes corpus BLEU and chrF2.

    Args:
        hypotheses: Generated sentences.
        references: For each hypothesis, a reference sentence or a list of them.
        tokenize: Tokenizer of BLEU, as in `bleu`.
        lowercase: Whether to ignore case.

    Returns:
        `{"bleu": Score, "chrf": Score}`.

    Raises:
        ValueError: For the same reasons as `bleu`.
    """
    return {
        "bleu": bleu(hypotheses, references, tokenize, lowercase),
        "chrf": chrf(hypotheses, references, lowercase),
    }


def compute_score(metric: BLEU | CHRF, hypotheses: Sequence[str], references: References) -> Score:
    """Returns the score of a corpus by a metric of sacrebleu."""
    rows = reference_lists(hypotheses, references)
    # sacrebleu takes one list per reference index, with None where a sentence has fewer.
    max_references = max(map(len, rows))
    streams: list = [
        [row[i] if i < len(row) else None for row in rows] for i in range(max_references)
    ]
    result = metric.corpus_score(list(hypotheses), streams)
    return Score(result.score, metric.get_signature().format())


def reference_lists(hypotheses: Sequence[str], references: References) -> list[list[str]]:
    """Returns the references as one list per hypothesis.

    Raises:
        ValueError: If there are no hypotheses, the two lists differ in length, a hypothesis has
            no reference, or one string is in place of a list.
    """
    check_texts("hypotheses", hypotheses)
    check_texts("references", references, nested=True)
    if not len(hypotheses) or len(hypotheses) != len(references):
        raise ValueError(
            "`hypotheses` and `references` must have the same length, at least 1. "
            f"Received: {len(hypotheses)} hypotheses, {len(references)} references"
        )
    rows = [[row] if isinstance(row, str) else list(row) for row in references]
    check_texts("references", [text for row in rows for text in row])
    if not all(rows):
        raise ValueError(
            "Each hypothesis must have at least one reference. "
            f"Received: references[{rows.index([])}]=[]"
        )
    return rows
