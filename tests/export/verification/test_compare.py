import numpy as np
import pytest

from keras_attention.export import ExportError, Predictions
from keras_attention.export.verification.compare import compare, sample_batches


def predictions(tokens, score=-2.0, attention=0.5, text="ab"):
    """Returns one hypothesis of two tokens over three source positions for one text."""
    weights = np.full((1, 1, 2, 3), attention)
    return Predictions([[text]], np.array([[tokens]]), np.array([[score]]), weights)


def test_agreement_is_counted_and_measured():
    received = predictions([4, 5], score=-2.0001, attention=0.5002)
    agreement = compare([predictions([4, 5])], [received], [["x"]])
    assert (agreement["compared"], agreement["equal"], agreement["ties"]) == (1, 1, 0)
    assert agreement["max_score_difference"] == pytest.approx(1e-4)
    assert agreement["max_attention_difference"] == pytest.approx(2e-4)


def test_equal_scores_are_a_tie():
    received = predictions([5, 4], score=-2.0001, text="ba")
    agreement = compare([predictions([4, 5])], [received], [["x"]])
    assert (agreement["compared"], agreement["equal"], agreement["ties"]) == (1, 0, 1)


@pytest.mark.parametrize(
    "received",
    [
        predictions([5, 4], score=-2.01, text="ba"),
        predictions([4, 5], score=-2.01),
        predictions([4, 5], score=float("nan")),
        predictions([4, 5], attention=0.6),
        predictions([4, 5], attention=float("nan")),
    ],
    ids=["other tokens", "other score", "NaN score", "other attention", "NaN attention"],
)
def test_disagreement_raises(received):
    with pytest.raises(ExportError, match=r"returns for 'x': 'ab' with score -2.0.* Received: '"):
        compare([predictions([4, 5])], [received], [["x"]])


def test_another_shape_raises():
    received = predictions([4, 5, 6])
    with pytest.raises(ExportError, match=r"\(1, 1, 2\) for \['x'\]. Received: \(1, 1, 3\)"):
        compare([predictions([4, 5])], [received], [["x"]])


def test_samples_are_run_alone_and_in_batches_of_eight():
    batches = sample_batches(list("abcdefghij"))
    assert batches == [[letter] for letter in "abcdefghij"] + [list("abcdefgh"), ["i", "j"]]
