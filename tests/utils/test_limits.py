import pytest

from keras_attention.utils.limits import Limits


def test_environment_replaces_the_defaults(monkeypatch):
    assert Limits().image_pixels == 89_478_485
    monkeypatch.setenv("KERAS_ATTENTION_IMAGE_PIXELS", "200000000")
    assert Limits().image_pixels == 200_000_000
    for text in ("many", "0", "-1", ""):
        monkeypatch.setenv("KERAS_ATTENTION_IMAGE_PIXELS", text)
        with pytest.raises(ValueError, match=f"KERAS_ATTENTION_IMAGE_PIXELS.*Received: {text!r}"):
            Limits()
