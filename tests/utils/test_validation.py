import numpy as np
import pytest

from keras_attention.utils.validation import check_one_of, check_pairs, check_positive, check_texts


@pytest.mark.parametrize("value", [0, -1.5, float("nan")])
def test_check_positive(value):
    check_positive("units", 0.5)
    with pytest.raises(ValueError, match=f"`units` must be positive. Received: units={value}"):
        check_positive("units", value)


def test_check_one_of():
    check_one_of("norm", "pre", ("pre", "post"))
    expected = r"`norm` must be one of \('pre', 'post'\). Received: norm='layer'"
    with pytest.raises(ValueError, match=expected):
        check_one_of("norm", "layer", ("pre", "post"))


@pytest.mark.parametrize("texts", [[], ["a", ""], ("a",), np.array(["a"])])
def test_lists_of_strings_pass(texts):
    check_texts("texts", texts)


@pytest.mark.parametrize(
    "texts, received",
    [("hi", "texts='hi'"), (b"hi", "texts=b'hi'"), (["a", b"b"], "an item b'b'"),
     ([["a"]], r"an item \['a'\]"), ([None], "an item None")],
)  # fmt: skip
def test_anything_but_a_list_of_strings_raises(texts, received):
    with pytest.raises(ValueError, match=f"`texts` must be a list of .*Received: {received}"):
        check_texts("texts", texts)


@pytest.mark.parametrize(
    "pairs, received",
    [("ab", "pairs='ab'"), ([], r"pairs=\[\]"), (["ab", "cd"], "an item 'ab'"),
     ([("a", "b"), ("c",)], r"an item \('c',\)"), ([("a", 1)], r"an item \('a', 1\)")],
)  # fmt: skip
def test_anything_but_pairs_of_strings_raises(pairs, received):
    check_pairs("pairs", [("a", "b"), ["c", "d"]])
    with pytest.raises(ValueError, match=f"`pairs` must .*Received: {received}"):
        check_pairs("pairs", pairs)
