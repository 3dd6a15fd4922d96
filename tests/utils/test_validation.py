import pytest

from keras_attention.utils.validation import check_one_of, check_positive


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
