"""Scores of captions against several references each: BLEU-1 to 4, ROUGE-L and CIDEr-D."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from sacrebleu.metrics import BLEU

from keras_attention.metrics.corpus import References, Score, reference_lists, score_of

ORDERS = (1, 2, 3, 4)  # lengths of n-grams
BETA = 1.2  # of ROUGE-L, as in COCO's evaluation: recall weighs more than precision
SIGMA = 6.0  # of CIDEr-D, in words
WORDS = "words:lower-unpunctuated"

Grams = Counter[tuple[str, ...]]


def caption_scores(hypotheses: Sequence[str], references: References) -> dict[str, Score]:
    """The scores that captioning papers report, over the words that `tokenize` finds.

    BLEU (Papineni et al., 2002) is sacrebleu's, of a whole corpus and without smoothing: n-grams
    up to n, clipped by the reference that has most of each, and the length of the closest
    reference. ROUGE-L (Lin, 2004) is the mean over hypotheses of the F-score of longest common
    subsequences, precision and recall each of the reference that gives most. CIDEr-D (Vedantam et
    al., 2015) is the mean over hypotheses of equations 1 to 5. The last two are as in COCO's
    evaluation, which took the constants 1.2 and 6 and counts n-grams in equation 1 without
    dividing them by their number.

    Args:
        hypotheses: Generated captions.
        references: For each hypothesis a caption, or a list of several.

    Returns:
        `Score`s by name: `bleu1` to `bleu4` and `rouge_l` from 0 to 100, `cider_d` from 0 to 10.
        CIDEr-D weighs words by how few images have them in their references: of one image alone,
        or of images whose references say the same, it is 0.

    Raises:
        ValueError: if there is nothing to score, the two differ in length, or a hypothesis has no
            reference.

    References:
        - Papineni et al., 2002, https://aclanthology.org/P02-1040
        - Lin, 2004, https://aclanthology.org/W04-1013 (section 3.2)
        - Vedantam et al., 2015, https://arxiv.org/abs/1411.5726 (equations 1 to 5)

    Example:

    >>> references = [["A dog runs on grass.", "A dog is running."], ["Two girls sit on a bench."]]
    >>> scores = caption_scores(["a dog runs on snow", "two girls sit on a bench"], references)
    >>> {name: round(score.score, 1) for name, score in scores.items()}
    {'bleu1': 90.9, 'bleu2': 89.9, 'bleu3': 88.5, 'bleu4': 86.3, 'rouge_l': 90.0, 'cider_d': 7.0}
    """
    rows = reference_lists(hypotheses, references)
    said = [tokenize(text) for text in hypotheses]
    wanted = [[tokenize(text) for text in row] for row in rows]
    scores = {f"bleu{n}": _bleu(said, wanted, n) for n in ORDERS}
    counts = {len(row) for row in wanted}
    nrefs = f"nrefs:{'var' if len(counts) > 1 else counts.pop()}"
    rouge = [_rouge_l(words, row) for words, row in zip(said, wanted, strict=True)]
    scores["rouge_l"] = Score(100 * _mean(rouge), f"{nrefs}|{WORDS}|beta:{BETA}")
    cider = _cider_d(said, wanted)
    scores["cider_d"] = Score(_mean(cider), f"{nrefs}|{WORDS}|sigma:{SIGMA}|n:4|df:references")
    return scores


def tokenize(text: str) -> list[str]:
    """The words of a caption as captioning papers count them: small letters, no punctuation.

    A word is letters, digits and whatever apostrophes and hyphens stand between them.

    Args:
        text: a caption.

    Returns:
        Its words.

    Example:

    >>> tokenize("A man 's T-shirt, and 2 dogs !")
    ['a', 'man', 's', 't-shirt', 'and', '2', 'dogs']
    """
    return re.findall(r"\w+(?:['’-]\w+)*", text.lower())


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _bleu(said: list[list[str]], wanted: list[list[list[str]]], order: int) -> Score:
    # force: tokenized text is scored on purpose, without sacrebleu's warning.
    metric = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    texts = [" ".join(words) for words in said]
    score, signature = score_of(
        metric, texts, [[" ".join(words) for words in row] for row in wanted]
    )
    return Score(score, f"{signature}|order:{order}|{WORDS}")


def _rouge_l(words: list[str], references: list[list[str]]) -> float:
    """Lin (2004), equations 2 to 4, with the best precision and the best recall."""
    common = [(_longest_common(words, reference), reference) for reference in references]
    if not any(length for length, _ in common):
        return 0.0
    recall = max(length / len(reference) for length, reference in common if reference)
    precision = max(length for length, _ in common) / len(words)
    return (1 + BETA**2) * recall * precision / (recall + BETA**2 * precision)


def _longest_common(first: list[str], second: list[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(second) + 1)  # of the words of `first` so far with each beginning of `second`
    for word in first:
        above = row
        row = [0]
        for i, other in enumerate(second):
            row.append(above[i] + 1 if word == other else max(above[i + 1], row[i]))
    return row[-1]


def _cider_d(said: list[list[str]], wanted: list[list[list[str]]]) -> list[float]:
    """CIDEr-D of each hypothesis (Vedantam et al., 2015)."""
    totals = [0.0] * len(said)
    unseen = math.log(len(wanted))  # an n-gram that no reference has is as rare as one image's
    for n in ORDERS:
        grams = [[_grams(words, n) for words in row] for row in wanted]
        # Equation 1: rare is what few images have in some reference.
        images = Counter(gram for row in grams for gram in set().union(*row))
        rarity = defaultdict(lambda: unseen)
        rarity |= {gram: math.log(len(wanted) / count) for gram, count in images.items()}
        for i, words in enumerate(said):
            mine = _grams(words, n)
            similar = [
                _similarity(mine, other, rarity)
                * math.exp(-((len(words) - len(reference)) ** 2) / (2 * SIGMA**2))
                for other, reference in zip(grams[i], wanted[i], strict=True)
            ]
            # Equations 4 and 5: the mean over references and, evenly weighed, over n.
            totals[i] += 10 * _mean(similar) / len(ORDERS)
    return totals


def _similarity(mine: Grams, other: Grams, rarity: dict[tuple[str, ...], float]) -> float:
    """The cosine in equation 4, where no n-gram counts oftener than the reference has it."""
    shared = math.fsum(
        min(count, other[gram]) * other[gram] * rarity[gram] ** 2
        for gram, count in mine.items()
        if gram in other
    )
    if not shared:  # then a norm may be 0
        return 0.0
    norms = [
        math.sqrt(math.fsum((count * rarity[gram]) ** 2 for gram, count in grams.items()))
        for grams in (mine, other)
    ]
    return shared / (norms[0] * norms[1])


def _grams(words: list[str], n: int) -> Grams:
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))
