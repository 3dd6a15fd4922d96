"""Limits on the files that the library reads."""

import dataclasses
import os

KIB, MIB, GIB = 2**10, 2**20, 2**30
PREFIX = "KERAS_ATTENTION_"


@dataclasses.dataclass
class Limits:
    """Limits on files. They are checked before memory is allocated, and can be changed at any time.

    Each default is replaced by the environment variable of the field's name in capitals after
    `KERAS_ATTENTION_`, such as `KERAS_ATTENTION_IMAGE_PIXELS=200000000`, which also applies to the
    command line.

    Attributes:
        image_pixels: Number of pixels of an image; the default is Pillow's.
        image_side: Width and height of an image, in pixels.
        image_bytes: Size of the file of an image.
        json_bytes: Size of a JSON file.
        tokenizer_bytes: Size of each file of a tokenizer.
        line_bytes: Size of a line of text.
        gzip_ratio: Size of an unpacked `.gz` file in relation to its own, after the first 16 MiB.
        safetensors_header_bytes: Size of the header of a safetensors file.
        torch_pickle_bytes: Size of `data.pkl` in a file of `torch.save`.
        max_length: Maximum numbers of tokens that a saved task or a Marian model sets: its
            `max_source_length`, `max_new_tokens` and positions.
        cache_bytes: Estimated memory of one input's keys, values and hypotheses at
            `max_new_tokens`.
        model_ratio: Memory of a model's variables in relation to its file, after the first 64 MiB.

    Example:

    >>> from keras_attention.utils.limits import limits
    >>> limits.json_bytes
    16777216
    >>> limits.image_pixels = 200_000_000  # for scanned maps
    >>> limits.image_pixels = 89_478_485  # the default again
    """

    image_pixels: int = 89_478_485
    image_side: int = 65_535
    image_bytes: int = 512 * MIB
    json_bytes: int = 16 * MIB
    tokenizer_bytes: int = 64 * MIB
    line_bytes: int = MIB
    gzip_ratio: int = 100
    safetensors_header_bytes: int = 100_000_000
    torch_pickle_bytes: int = 16 * MIB
    max_length: int = 4096
    cache_bytes: int = 4 * GIB
    model_ratio: int = 4

    def __post_init__(self):
        for field in dataclasses.fields(self):
            text = os.environ.get(PREFIX + field.name.upper())
            if text is None:
                continue
            if not text.isdecimal() or not int(text):
                raise ValueError(
                    f"`{PREFIX}{field.name.upper()}` must be an integer of at least 1. "
                    f"Received: {text!r}"
                )
            setattr(self, field.name, int(text))


limits = Limits()
