"""Selection of installed fonts that cover the characters of a text in any script."""

import warnings
from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager, ft2font, rcParams

# Fonts bundled with matplotlib that map characters to unrelated glyphs.
EXCLUDED_FONTS = ("Last Resort", "STIXNonUnicode", "STIXSize", "cm")


def font_families(texts: Iterable[str]) -> list[str]:
    """Returns font families that together cover every character of the texts.

    The families of matplotlib's settings come first; other installed fonts are added only for
    characters that those lack. matplotlib tries the families in this order.

    Args:
        texts: The texts to draw.

    Returns:
        List of family names, for the `family` argument of matplotlib's texts.

    Warns:
        UserWarning: If no installed font has one of the characters, which is then drawn as a box.

    Example:

    >>> font_families(["ein", "Haus"]) == rcParams["font.family"]
    True
    """
    selected = list(rcParams["font.family"])
    missing = {ord(letter) for text in texts for letter in text if letter.isprintable()}
    missing -= _characters(font_manager.findfont(font_manager.FontProperties(family=selected)))
    if missing:
        _find_new_fonts()
    upright = [
        font
        for font in font_manager.fontManager.ttflist
        if font.style == "normal" and not font.name.startswith(EXCLUDED_FONTS)
    ]
    # Regular weight first, then by name, for a reproducible selection.
    upright.sort(key=lambda font: (font.weight != 400, font.name))
    while missing and upright:
        best = max(upright, key=lambda font: len(missing & _characters(font.fname)))
        covered = missing & _characters(best.fname)
        if not covered:
            break
        selected.append(best.name)
        missing -= covered
    if missing:
        letters = "".join(map(chr, sorted(missing)))
        warnings.warn(
            f"No installed font has the characters {letters!r}, which are drawn as boxes. Install "
            "a font that has them, such as Noto (packages fonts-noto-core and fonts-noto-cjk of "
            "Debian and Ubuntu).",
            stacklevel=3,
        )
    return selected


@cache
def _characters(path: str) -> frozenset[int]:
    try:
        return frozenset(ft2font.FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # FreeType cannot read the font file
        return frozenset()


@cache
def _find_new_fonts() -> None:
    # matplotlib caches its list of fonts on disk and misses fonts installed later.
    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known and _characters(path):
            font_manager.fontManager.addfont(path)
