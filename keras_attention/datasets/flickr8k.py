"""Reader of Flickr8k: photographs with five captions each (Hodosh et al., 2013).

The data set is for non-commercial research and is not downloaded here. Its folder contains

    Flicker8k_Dataset/*.jpg        photographs (the folder is spelled this way)
    Flickr8k.token.txt             lines of `name.jpg#k<TAB>caption`
    Flickr_8k.trainImages.txt      file names of a split, one per line; also devImages, testImages
"""

import os
from pathlib import Path
from typing import NamedTuple

PHOTOGRAPHS = "Flicker8k_Dataset"
CAPTIONS = "Flickr8k.token.txt"
SPLITS = ("train", "dev", "test")


class CaptionedImage(NamedTuple):
    """A photograph and its captions.

    Attributes:
        image: Path of the JPEG file.
        captions: The captions, unchanged, in the order of their numbers.
    """

    image: Path
    captions: list[str]


def flickr8k(folder: str | os.PathLike, split: str = "train") -> list[CaptionedImage]:
    """Reads one split of Flickr8k. The photographs are listed, not opened.

    Args:
        folder: Folder that contains the data set's files.
        split: `"train"`, `"dev"` or `"test"`.

    Returns:
        List of one `CaptionedImage` per photograph, in the order of the split's file.

    Raises:
        ValueError: If the split is unknown, a line cannot be parsed, or a photograph of the split
            is listed twice or has no caption.
        FileNotFoundError: If a file or folder of the data set or a photograph of the split is
            missing.

    References:
        - Hodosh, Young and Hockenmaier, 2013, https://doi.org/10.1613/jair.3994
    """
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {SPLITS}. Received: split={split!r}")
    folder = Path(folder)
    split_file, photographs = folder / f"Flickr_8k.{split}Images.txt", folder / PHOTOGRAPHS
    names = _names(split_file)
    captions = _captions(folder / CAPTIONS)
    # One directory listing in place of 6,000 file look-ups.
    present = _present(photographs)
    examples = []
    for name in names:
        if name not in captions:
            raise ValueError(
                f"Each photograph of {split_file} must have a caption in {folder / CAPTIONS}. "
                f"Received: no caption of {name}"
            )
        if name not in present:
            raise FileNotFoundError(
                f"Each photograph of {split_file} must be in {photographs}. "
                f"Received: captions of {name}, but no such file"
            )
        numbered = captions[name]
        examples.append(CaptionedImage(photographs / name, [numbered[k] for k in sorted(numbered)]))
    return examples


def _names(path: Path) -> list[str]:
    seen: dict[str, int] = {}
    for number, line in _lines(path):
        name = line.strip()
        if not name or name in seen:
            received = f"{name}, as in line {seen[name]}" if name else "an empty line"
            raise ValueError(
                f"Each line of {path} must be the name of another photograph. "
                f"Received: line {number} is {received}"
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
                f"Each line of {path} must be `name.jpg#k<TAB>caption`, with each k once per "
                f"photograph. Received: line {number} is {line!r}"
            )
        numbered[int(k)] = caption
    return captions


def _present(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder of photographs is missing. Received: {folder}")
    return set(os.listdir(folder))


def _lines(path: Path) -> list[tuple[int, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"A file of Flickr8k is missing. Received: {path}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"The file must be UTF-8. Received: {path} ({error})") from error
    return list(enumerate(text.removesuffix("\n").split("\n"), start=1))
