"""Flickr8k in its own layout: photographs with five captions each (Hodosh et al., 2013).

The data set is for research, not for commerce, and is not downloaded here. Its folder has

    Flicker8k_Dataset/*.jpg        the photographs (the folder's name is spelled so)
    Flickr8k.token.txt             lines of `name.jpg#k<TAB>caption`
    Flickr_8k.trainImages.txt      the names of a split, one a line; devImages, testImages too
"""

import os
from pathlib import Path
from typing import NamedTuple

PHOTOGRAPHS = "Flicker8k_Dataset"
CAPTIONS = "Flickr8k.token.txt"
SPLITS = ("train", "dev", "test")


class Captioned(NamedTuple):
    """A photograph and what people wrote about it.

    Attributes:
        image: the file.
        captions: its captions as they stand in the data set, in the order of their numbers.
    """

    image: Path
    captions: list[str]


def flickr8k(folder: str | os.PathLike, split: str = "train") -> list[Captioned]:
    """Reads one split of Flickr8k; the photographs are named, not opened.

    Args:
        folder: where the data set's folder and files are.
        split: `"train"`, `"dev"` or `"test"`.

    Returns:
        One `Captioned` for each photograph, in the order of the split's file.

    Raises:
        ValueError: if the split is unknown, a line cannot be read, or a photograph of the split
            is listed twice or has no caption.
        FileNotFoundError: if a file or folder of the data set is missing, or the photograph of a
            caption of the split is.

    References:
        - Hodosh, Young and Hockenmaier, 2013, https://doi.org/10.1613/jair.3994
    """
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {SPLITS}. Received: split={split!r}")
    folder = Path(folder)
    listed, photographs = folder / f"Flickr_8k.{split}Images.txt", folder / PHOTOGRAPHS
    names = _names(listed)
    captions = _captions(folder / CAPTIONS)
    # One listing: looking for each file of a split would ask the disk 6,000 times.
    present = _present(photographs)
    read = []
    for name in names:
        if name not in captions:
            raise ValueError(
                f"Expected a caption for each photograph of {listed}. "
                f"Received: none for {name} in {folder / CAPTIONS}"
            )
        if name not in present:
            raise FileNotFoundError(
                f"Expected the photograph of each caption in {photographs}. "
                f"Received: captions of {name}, which {listed} names, and no such file"
            )
        numbered = captions[name]
        read.append(Captioned(photographs / name, [numbered[k] for k in sorted(numbered)]))
    return read


def _names(path: Path) -> list[str]:
    seen: dict[str, int] = {}
    for number, line in _lines(path):
        name = line.strip()
        if not name or name in seen:
            what = f"{name}, as in line {seen[name]}" if name else "an empty line"
            raise ValueError(
                f"{path}, line {number}: expected the name of another photograph. Received: {what}"
            )
        seen[name] = number
    return list(seen)


def _captions(path: Path) -> dict[str, dict[int, str]]:
    captions: dict[str, dict[int, str]] = {}
    for number, line in _lines(path):
        key, tab, caption = line.partition("\t")
        name, _, k = key.rpartition("#")
        caption = caption.strip()
        numbered = captions.setdefault(name, {})
        if not (name and k.isdecimal() and tab and caption) or int(k) in numbered:
            raise ValueError(
                f"{path}, line {number}: expected `name.jpg#k<TAB>caption`, "
                f"each k once for a photograph. Received: {line!r}"
            )
        numbered[int(k)] = caption
    return captions


def _present(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder of photographs. Received: {folder}")
    return set(os.listdir(folder))


def _lines(path: Path) -> list[tuple[int, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file of Flickr8k. Received: {path}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8. Received: {error}") from error
    return list(enumerate(text.removesuffix("\n").split("\n"), start=1))
