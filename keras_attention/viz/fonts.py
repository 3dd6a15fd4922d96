"""Fonts for text in any script: which installed families cover the characters of some texts."""

import warnings
from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager, ft2font, rcParams

# Fonts that come with matplotlib and claim characters that they draw as something else.
FALSE_FRIENDS = ("Last Resort", "STIXNonUnicode", "STIXSize", "cm")


def families(texts: Iterable[str]) -> list[str]:
    """Font families that together have every character of the texts.

    The first are those of matplotlib's settings; installed fonts follow only where a character
    is missing. matplotlib looks for each character in this order.

    Args:
        texts: what will be drawn.

    Returns:
        Family names, for the `family` argument of matplotlib's texts.

    Warns:
        UserWarning: if no installed font has some character; it will be drawn as a box.

    Example:

    >>> families(["ein", "Haus"]) == rcParams["font.family"]
    True
    """
    chosen = list(rcParams["font.family"])
    missing = {ord(letter) for text in texts for letter in text if letter.isprintable()}
    missing -= _letters(font_manager.findfont(font_manager.FontProperties(family=chosen)))
    if missing:
        _find_new_fonts()
    upright = [
        font
        for font in font_manager.fontManager.ttflist
        if font.style == "normal" and not font.name.startswith(FALSE_FRIENDS)
    ]
    # Regular weight first, then by name, so that the choice is the same on every run.
    upright.sort(key=lambda font: (font.weight != 400, font.name))
    while missing and upright:
        best = max(upright, key=lambda font: len(missing & _letters(font.fname)))
        found = missing & _letters(best.fname)
        if not found:
            break
        chosen.append(best.name)
        missing -= found
    if missing:
        letters = "".join(map(chr, sorted(missing)))
        warnings.warn(
            f"No installed font has the characters {letters!r}: they are drawn as boxes. Install "
            "a font that has them (Noto has one for each script: the packages fonts-noto-core "
            "and fonts-noto-cjk of Debian and Ubuntu).",
            stacklevel=3,
        )
    return chosen


@cache
def _letters(path: str) -> frozenset[int]:
    try:
        return frozenset(ft2font.FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # a font file that FreeType cannot read is no candidate
        return frozenset()


@cache
def _find_new_fonts() -> None:
    # matplotlib keeps its list of fonts on disk and misses what was installed since.
    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known and _letters(path):
            font_manager.fontManager.addfont(path)
