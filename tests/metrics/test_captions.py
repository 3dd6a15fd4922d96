"""Tests of the caption metrics against COCO's evaluation, the equations and known cases."""

import itertools
import math
import re
import unicodedata

import numpy as np
import pytest
import sacrebleu

from keras_attention.metrics import caption_scores, tokenize

HYPOTHESES = [
    "a dog runs on the grass",
    "two girls sit on a bench",
    "a man a man a man rides a bike",
    "a red ball",
]
REFERENCES = [
    [
        "a brown dog runs through grass",
        "a dog is running on the green grass",
        "the dog plays",
    ],
    ["two girls sit on a bench", "two young girls are sitting on a wooden bench"],
    [
        "a man rides a bike on a road",
        "a cyclist on a street",
        "a man is riding his bike",
        "a man on a bicycle",
    ],
    ["children play with a red ball in the park"],
]
# pycocoevalcap 1.2 (COCO's evaluation code) on the captions words; BLEU and ROUGE-L times 100.
COCO = {
    "bleu1": 71.0444302822602,
    "bleu2": 63.54407021328659,
    "bleu3": 54.72855925343656,
    "bleu4": 48.5275311241573,
    "rouge_l": 69.48447507658034,
    "cider_d": 2.751274925818535,
}


def values(hypotheses, references):
    return {name: score.score for name, score in caption_scores(hypotheses, references).items()}


def test_matches_coco_evaluation():
    scores = values(HYPOTHESES, REFERENCES)
    assert list(scores) == list(COCO)
    assert scores == pytest.approx(COCO, rel=1e-8)  # COCO's BLEU adds 1e-9 to a length


def clipped_bleu(hypotheses, references, order):
    """Papineni et al. (2002), sections 2.1 to 2.3, in the order of their words."""
    logs = []
    for n in range(1, order + 1):
        matched = total = 0
        for hypothesis, row in zip(hypotheses, references, strict=True):
            mine, others = grams(hypothesis, n), [grams(text, n) for text in row]
            matched += sum(
                min(mine.count(gram), max(other.count(gram) for other in others))
                for gram in set(mine)
            )
            total += len(mine)
        logs.append(math.log(matched / total))
    c = sum(len(hypothesis.split()) for hypothesis in hypotheses)
    r = 0
    for hypothesis, row in zip(hypotheses, references, strict=True):
        lengths = [len(text.split()) for text in row]
        r += min(lengths, key=lambda length: (abs(length - len(hypothesis.split())), length))
    return 100 * min(1, math.exp(1 - r / c)) * math.exp(sum(logs) / order)


def grams(text, n):
    words = text.split()
    return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]


def rouge_l(hypothesis, row):
    """Lin (2004), equations 2 to 4; every subsequence of the hypothesis is tried."""
    words = hypothesis.split()
    recalls, precisions = [], []
    for text in row:
        longest = max(
            len(chosen)
            for size in range(len(words) + 1)
            for chosen in itertools.combinations(words, size)
            if is_subsequence(chosen, text.split())
        )
        recalls.append(longest / len(text.split()))
        precisions.append(longest / len(words))
    r, p, beta = max(recalls), max(precisions), 1.2
    return 100 * (1 + beta**2) * r * p / (r + beta**2 * p)


def is_subsequence(chosen, words):
    left = iter(words)
    return all(word in left for word in chosen)


def cider_d(hypotheses, references):
    """Vedantam et al. (2015), equations 1, 4 and 5, as dense float64 vectors over all n-grams."""
    scores = np.zeros(len(hypotheses))
    for n in (1, 2, 3, 4):
        texts = [*hypotheses, *itertools.chain(*references)]
        vocabulary = sorted({gram for text in texts for gram in grams(text, n)})
        images = [
            sum(any(gram in grams(text, n) for text in row) for row in references)
            for gram in vocabulary
        ]
        idf = np.log(len(references) / np.maximum(1, images))

        def vector(text, n=n, vocabulary=vocabulary, idf=idf):
            return np.array([grams(text, n).count(gram) for gram in vocabulary]) * idf

        for i, (hypothesis, row) in enumerate(zip(hypotheses, references, strict=True)):
            for text in row:
                c, s = vector(hypothesis), vector(text)
                norms = np.linalg.norm(c) * np.linalg.norm(s)
                apart = len(hypothesis.split()) - len(text.split())
                cosine = np.minimum(c, s) @ s / norms if norms else 0
                scores[i] += 10 / len(row) * np.exp(-(apart**2) / 72) * cosine / 4
    return scores.mean()


def test_matches_the_equations():
    scores = values(HYPOTHESES, REFERENCES)
    for n in (1, 2, 3, 4):
        expected = clipped_bleu(HYPOTHESES, REFERENCES, n)
        assert scores[f"bleu{n}"] == pytest.approx(expected, rel=1e-12)
    expected = np.mean([rouge_l(*pair) for pair in zip(HYPOTHESES, REFERENCES, strict=True)])
    assert scores["rouge_l"] == pytest.approx(expected, rel=1e-12)
    assert scores["cider_d"] == pytest.approx(cider_d(HYPOTHESES, REFERENCES), rel=1e-12)


def test_rouge_l_by_hand():
    # Lin's example, section 3.2: S1 "police killed the gunman", S2 "police kill the gunman":
    # three words of four in order; S3 "the gunman kill police": two.
    for hypothesis, common in (("police kill the gunman", 3), ("the gunman kill police", 2)):
        score = values([hypothesis], ["police killed the gunman"])["rouge_l"]
        assert score == pytest.approx(100 * common / 4)
    # Precision 2/2 of one reference, recall 1/2 of the other: 2.44 (1/2) / (1/2 + 1.44).
    score = values(["a dog"], [["a dog that runs far off", "dog runs"]])["rouge_l"]
    assert score == pytest.approx(100 * 2.44 * 0.5 / 1.94)


def test_cider_d_by_hand():
    # Two images; "a" is in both and weighs log(2/2) = 0, every other word log 2. Hypothesis and
    # reference share "dog" of (dog, runs, fast) and (dog): unigrams give 1 / sqrt(3), the lengths
    # 4 and 2 the factor exp(-4/72); "a dog" is one of three bigrams of weight log 2 and the
    # reference's only one: 1 / sqrt(3) again; it has no longer n-grams.
    scores = values(["a dog runs fast", "a cat"], ["a dog", "a bird"])
    assert scores["cider_d"] == pytest.approx(
        10 * 2 / 4 / math.sqrt(3) * math.exp(-4 / 72) / 2, rel=1e-12
    )


def test_captions_equal_to_their_references_have_the_highest_scores():
    texts = ["a dog runs on grass", "two girls sit down", "the red ball is there"]
    expected = {**dict.fromkeys(COCO, 100), "cider_d": 10}
    assert values(texts, texts) == pytest.approx(expected)
    assert values(texts, [[text] * 3 for text in texts]) == pytest.approx(expected)


def test_captions_without_a_common_word_score_zero():
    assert values(["x y z w v", "q r s t u"], HYPOTHESES[:2]) == dict.fromkeys(COCO, 0)


def test_repeating_a_rare_word_does_not_raise_cider_d():
    """Clipping (Vedantam et al., 2015, section 5): repetitions only add length."""
    references = ["a red ball", "two girls sit on a bench"]
    gamed = [
        values(["a red " + "ball " * times, "no"], references)["cider_d"] for times in (1, 2, 4, 8)
    ]
    assert gamed == sorted(gamed, reverse=True) and len(set(gamed)) == 4


def test_words_of_every_image_have_no_weight_in_cider_d():
    assert values(["a dog runs on"], [["a dog runs on"]])["cider_d"] == 0  # one image
    captions = ["a dog runs on grass"] * 3
    assert values(captions, captions)["cider_d"] == 0
    assert values(captions, captions)["bleu4"] == pytest.approx(100)


def test_order_of_captions_and_references_does_not_matter():
    reversed_references = [row[::-1] for row in REFERENCES[::-1]]
    assert values(HYPOTHESES[::-1], reversed_references) == pytest.approx(
        values(HYPOTHESES, REFERENCES)
    )


def test_case_and_punctuation_are_ignored():
    hypothesis = [text.capitalize() + " ." for text in HYPOTHESES]
    row = [['"' + text.upper().replace(" ", ", ") + '!"' for text in row] for row in REFERENCES]
    assert values(hypothesis, row) == values(HYPOTHESES, REFERENCES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog runs .", ["a", "dog", "runs"]),
        ("It's a T-shirt - really?!", ["it's", "a", "t-shirt", "really"]),
        ("the children 's 'toys'", ["the", "children", "s", "toys"]),
        ("Ein Mädchen, 10 Bälle", ["ein", "mädchen", "10", "bälle"]),
        (" .\n", []),
    ],
)
def test_tokenize(text, words):
    assert tokenize(text) == words


def test_signatures():
    scores = caption_scores(HYPOTHESES[:2], [row[:2] for row in REFERENCES[:2]])
    words = "words:lower-unpunctuated"
    version = sacrebleu.__version__
    assert scores["bleu3"].signature == (
        f"nrefs:2|case:mixed|eff:no|tok:none|smooth:none|version:{version}|order:3|{words}"
    )
    assert scores["rouge_l"].signature == f"nrefs:2|{words}|beta:1.2"
    assert scores["cider_d"].signature == f"nrefs:2|{words}|sigma:6.0|n:4|df:references"
    for score in caption_scores(HYPOTHESES, REFERENCES).values():
        assert score.signature.startswith("nrefs:var|")


def test_empty_captions_and_references():
    assert set(values([""], ["a dog"]).values()) == {0}
    assert set(values(["a dog"], ["!"]).values()) == {0}
    # An additional empty reference only lowers the mean of CIDEr-D.
    one = values(["a dog runs on", "no"], [["a dog runs on"], ["yes"]])
    two = values(["a dog runs on", "no"], [["a dog runs on", "."], ["yes"]])
    assert two["rouge_l"] == one["rouge_l"] == 50
    assert two["cider_d"] == one["cider_d"] / 2 == 2.5


@pytest.mark.parametrize(
    ("hypotheses", "references", "received"),
    [
        ([], [], "0 hypotheses, 0 references"),
        (["a"], ["a", "b"], "1 hypotheses, 2 references"),
        (["a", "b"], [["a"], []], r"Received: references\[1\]=\[\]"),
    ],
)
def test_errors(hypotheses, references, received):
    with pytest.raises(ValueError, match=received):
        caption_scores(hypotheses, references)


SENTENCES = {
    "hindi": "एक लड़का किताब पढ़ रहा है",
    "bengali": "একটি মেয়ে বই পড়ছে",
    "tamil": "ஒரு பையன் புத்தகம் படிக்கிறான்",
    "vocalized arabic": "وَلَدٌ يَقْرَأُ كِتَابًا",
    "hebrew": "שָׁלוֹם עוֹלָם",
    "persian": "او می\u200cخواهد بازی کند",  # U+200C, a joiner within a word
    "nfd": unicodedata.normalize("NFD", "une fenêtre près du château"),
    "vietnamese": unicodedata.normalize("NFD", "một cậu bé đọc sách"),
}


@pytest.mark.parametrize("language", SENTENCES)
def test_combining_marks_do_not_end_words(language):
    """Without punctuation, the words are what white space separates."""
    sentence = SENTENCES[language]
    assert tokenize(sentence) == unicodedata.normalize("NFC", sentence).split()


def test_words_of_the_same_letters_in_another_order_are_different():
    assert values(["किताब"], [["कताबी"]])["bleu1"] == 0
    assert values(["किताब है"], [["किताब थी"]])["bleu1"] == pytest.approx(50)


def test_canonically_equivalent_texts_are_equal():
    text = "une fenêtre près du château"
    nfd, nfc = (unicodedata.normalize(form, text) for form in ("NFD", "NFC"))
    assert values([nfd], [[nfc]])["bleu4"] == pytest.approx(100)


def test_english_words_are_those_of_the_pattern_without_marks():
    texts = [
        *HYPOTHESES,
        *(text for row in REFERENCES for text in row),
        "A man 's T-shirt , isn't it ? ... 2 dogs' -- café naïve_x ’tis o’clock - -a- 3.5",
    ]
    for text in texts:
        assert tokenize(text) == re.findall(r"\w+(?:['’-]\w+)*", text.lower())
