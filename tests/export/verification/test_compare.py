import numpy as np
import pytest

from keras_attention.export.verification.compare import ExportError, Output, batches_of, compare


def output(tokens, score=-2.0, attention=0.5, text="ab"):
    """One text's one answer of two tokens over three source positions."""
    looked = np.full((1, 1, 2, 3), attention)
    return Output([[text]], np.array([[tokens]]), np.array([[score]]), looked)


def test_agreement_is_counted_and_measured():
    said = compare([output([4, 5])], [output([4, 5], score=-2.0001, attention=0.5002)], [["x"]])
    assert (said["answers"], said["equal"], said["ties"]) == (1, 1, 0)
    assert said["max_score_difference"] == pytest.approx(1e-4)
    assert said["max_attention_difference"] == pytest.approx(2e-4)


def test_equal_scores_are_a_tie():
    said = compare([output([4, 5])], [output([5, 4], score=-2.0001, text="ba")], [["x"]])
    assert (said["answers"], said["equal"], said["ties"]) == (1, 0, 1)


@pytest.mark.parametrize(
    "received",
    [
        output([5, 4], score=-2.01, text="ba"),
        output([4, 5], score=-2.01),
        output([4, 5], score=float("nan")),
        output([4, 5], attention=0.6),
        output([4, 5], attention=float("nan")),
    ],
    ids=["other tokens", "other score", "no score", "looks elsewhere", "looks nowhere"],
)
def test_disagreement_is_an_error(received):
    with pytest.raises(ExportError, match=r"answer to 'x': 'ab' with score -2.0.* Received: '"):
        compare([output([4, 5])], [received], [["x"]])


def test_another_shape_is_an_error():
    with pytest.raises(ExportError, match=r"shape \(1, 1, 2\) to \['x'\]. Received: \(1, 1, 3\)"):
        compare([output([4, 5])], [output([4, 5, 6])], [["x"]])


def test_every_trial_is_run_alone_and_in_batches_of_eight():
    batches = batches_of(list("abcdefghij"))
    assert batches == [[letter] for letter in "abcdefghij"] + [list("abcdefgh"), ["i", "j"]]
