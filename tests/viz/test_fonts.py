import warnings
from pathlib import Path

import pytest
from matplotlib import font_manager, get_data_path, rcParams

from keras_attention.viz.fonts import font_families


def test_latin_needs_no_other_font():
    assert font_families(["Füße", "coração"]) == rcParams["font.family"]


def test_nothing_to_draw_needs_no_other_font():
    assert font_families([]) == rcParams["font.family"]
    assert font_families(["", " "]) == rcParams["font.family"]


def test_installed_font_covers_missing_characters(monkeypatch):
    # cmtt10, which comes with matplotlib, has no Cyrillic; DejaVu Sans, which does too, has.
    monkeypatch.setitem(rcParams, "font.family", ["cmtt10"])
    # The cached list of fonts lacks those that an interrupted process of matplotlib did not reach.
    fonts = font_manager.fontManager
    monkeypatch.setattr(fonts, "ttflist", list(fonts.ttflist))
    fonts.addfont(Path(get_data_path(), "fonts", "ttf", "cmtt10.ttf"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen = font_families(["дом"])
    assert chosen[0] == "cmtt10"
    assert len(chosen) == 2
    path = font_manager.findfont(font_manager.FontProperties(family=chosen[1:]))
    assert ord("д") in font_manager.get_font(path).get_charmap()


def test_placeholder_fonts_are_excluded():
    with pytest.warns(UserWarning, match="\U00012031"):
        chosen = font_families(["\U00012031"])
    assert chosen == rcParams["font.family"]
