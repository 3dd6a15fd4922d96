"""Caption metrics with several references per image: BLEU-1 to 4, ROUGE-L and CIDEr-D."""

import functools
import math
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

from sacrebleu.metrics import BLEU

from keras_attention.metrics.corpus import References, Score, compute_score, reference_lists

ORDERS = (1, 2, 3, 4)  # n of the n-grams
BETA = 1.2  # of ROUGE-L, as in COCO's evaluation: recall counts more than precision
SIGMA = 6.0  # of CIDEr-D, in words
WORDS = "words:lower-unpunctuated"

Grams = Counter[tuple[str, ...]]


def caption_scores(hypotheses: Sequence[str], references: References) -> dict[str, Score]:
    """Computes the metrics that captioning papers report, on the words of `tokenize`.

    - BLEU (Papineni et al., 2002) is computed by sacrebleu, over the corpus and without smoothing.
    - ROUGE-L (Lin, 2004) is the mean over hypotheses of the F-score of the longest common
      subsequence, with the best precision and the best recall over the references.
    - CIDEr-D (Vedantam et al., 2015) is the mean over hypotheses of equations 1 to 5.

    ROUGE-L and CIDEr-D follow COCO's evaluation code, which uses the constants 1.2 and 6 and raw
    n-gram counts in equation 1.

    Args:
        hypotheses: Generated captions.
        references: For each hypothesis, a reference caption or a list of them.

    Returns:
        Dictionary of `Score`s: `bleu1` to `bleu4` and `rouge_l` from 0 to 100, `cider_d` from 0 to
        10. CIDEr-D weights n-grams by their rarity over images, so it is 0 for a single image or
        for images with identical references.

    Raises:
        ValueError: If there are no hypotheses, the two lists differ in length, or a hypothesis has
            no reference.

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
    hypotheses_words = [tokenize(text) for text in hypotheses]
    references_words = [[tokenize(text) for text in row] for row in rows]
    scores = {f"bleu{n}": _bleu(hypotheses_words, references_words, n) for n in ORDERS}
    counts = {len(row) for row in references_words}
    nrefs = f"nrefs:{'var' if len(counts) > 1 else counts.pop()}"
    rouge = [
        _rouge_l(words, row) for words, row in zip(hypotheses_words, references_words, strict=True)
    ]
    scores["rouge_l"] = Score(100 * _mean(rouge), f"{nrefs}|{WORDS}|beta:{BETA}")
    cider = _cider_d(hypotheses_words, references_words)
    scores["cider_d"] = Score(_mean(cider), f"{nrefs}|{WORDS}|sigma:{SIGMA}|n:4|df:references")
    return scores


def tokenize(text: str) -> list[str]:
    """Splits a caption into lower-case words without punctuation.

    A word consists of letters and digits, with apostrophes and hyphens allowed inside it. Combining
    marks, such as the vowel signs of Hindi, Tamil and Arabic, and joiners belong to the letter
    before them. Words are compared in the Unicode normal form NFC. Scripts without spaces between
    words, such as Thai and Chinese, are not split into words.

    Args:
        text: A caption.

    Returns:
        List of words.

    Example:

    >>> tokenize("A man 's T-shirt, and 2 dogs !")
    ['a', 'man', 's', 't-shirt', 'and', '2', 'dogs']
    """
    return _words().findall(unicodedata.normalize("NFC", text.lower()))


@functools.cache
def _words() -> re.Pattern[str]:
    r"""Returns the pattern of a word; `\w` of the module `re` has no combining marks."""
    letters = map(chr, range(sys.maxunicode + 1))
    marks = "".join(x for x in letters if unicodedata.category(x).startswith("M"))
    part = rf"\w[\w{marks}\u200c\u200d]*"  # U+200C and U+200D are joiners
    return re.compile(rf"{part}(?:['’-]{part})*")


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _bleu(
    hypotheses_words: list[list[str]], references_words: list[list[list[str]]], order: int
) -> Score:
    # `force` silences the warning about tokenized text, which is scored on purpose.
    metric = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    texts = [" ".join(words) for words in hypotheses_words]
    score, signature = compute_score(
        metric, texts, [[" ".join(words) for words in row] for row in references_words]
    )
    return Score(score, f"{signature}|order:{order}|{WORDS}")


def _rouge_l(words: list[str], references: list[list[str]]) -> float:
    """Returns ROUGE-L (Lin, 2004, equations 2 to 4), with the best precision and recall."""
    common = [(_longest_common(words, reference), reference) for reference in references]
    if not any(length for length, _ in common):
        return 0.0
    recall = max(length / len(reference) for length, reference in common if reference)
    precision = max(length for length, _ in common) / len(words)
    return (1 + BETA**2) * recall * precision / (recall + BETA**2 * precision)


def _longest_common(first: list[str], second: list[str]) -> int:
    """Returns the length of the longest common subsequence."""
    row = [0] * (len(second) + 1)  # row[i]: of the words of `first` so far with `second[:i]`
    for word in first:
        above = row
        row = [0]
        for i, other in enumerate(second):
            row.append(above[i] + 1 if word == other else max(above[i + 1], row[i]))
    return row[-1]


def _cider_d(
    hypotheses_words: list[list[str]], references_words: list[list[list[str]]]
) -> list[float]:
    """Returns CIDEr-D of each hypothesis (Vedantam et al., 2015)."""
    totals = [0.0] * len(hypotheses_words)
    unseen = math.log(
        len(references_words)
    )  # an n-gram in no reference counts as one in a single image
    for n in ORDERS:
        grams = [[_grams(words, n) for words in row] for row in references_words]
        # Equation 1: the document frequency counts images, not references.
        images = Counter(gram for row in grams for gram in set().union(*row))
        rarity: dict[tuple, float] = defaultdict(lambda: unseen)
        rarity |= {gram: math.log(len(references_words) / count) for gram, count in images.items()}
        for i, words in enumerate(hypotheses_words):
            hypothesis = _grams(words, n)
            similar = [
                _similarity(hypothesis, other, rarity)
                * math.exp(-((len(words) - len(reference)) ** 2) / (2 * SIGMA**2))
                for other, reference in zip(grams[i], references_words[i], strict=True)
            ]
            # Equations 4 and 5: mean over references and uniform mean over n.
            totals[i] += 10 * _mean(similar) / len(ORDERS)
    return totals


def _similarity(hypothesis: Grams, reference: Grams, rarity: dict[tuple[str, ...], float]) -> float:
    """Returns the cosine of equation 4, with counts clipped to those of the reference."""
    shared = math.fsum(
        min(count, reference[gram]) * reference[gram] * rarity[gram] ** 2
        for gram, count in hypothesis.items()
        if gram in reference
    )
    if not shared:  # a norm may be 0
        return 0.0
    norms = [
        math.sqrt(math.fsum((count * rarity[gram]) ** 2 for gram, count in grams.items()))
        for grams in (hypothesis, reference)
    ]
    return shared / (norms[0] * norms[1])


def _grams(words: list[str], n: int) -> Grams:
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))
