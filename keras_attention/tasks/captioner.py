"""Captioning of images with an encoder-decoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_attention.generation import GreedySearch, Strategy
from keras_attention.models import EncoderDecoder
from keras_attention.tasks.generation_task import GenerationTask
from keras_attention.tasks.runner import ModelRunner
from keras_attention.tasks.task import check_vocabulary_size
from keras_attention.text import Tokenizer, load_tokenizer
from keras_attention.text.postprocessors import CaptionPostprocessor

if TYPE_CHECKING:  # images import TensorFlow, which other tasks do without
    from keras_attention.images import Image
    from keras_attention.images.preprocessors import ImagePreprocessor


class ImageAlignment(NamedTuple):
    """Attention weights between the cells of an image and target tokens.

    Attributes:
        image: uint8 `(height, width, 3)`, as the model reads it.
        target: generated tokens.
        weights: `(target, rows, columns)`.
    """

    image: np.ndarray
    target: list[str]
    weights: np.ndarray


class Captioner(GenerationTask):
    """Describes images with an `EncoderDecoder` whose encoder is an `ImageEncoder`.

    An image is the path of a JPEG or PNG file, its bytes, or an array `(height, width, 3)` of 0 to
    255. It is resized to the size that the model reads, without keeping its aspect ratio; grey,
    transparent and 16-bit images are converted (see `keras_attention.images.read_image`).

    Train `model` with `fit` on `keras_attention.images.captioned_batches`; the task always uses its
    current weights.

    Args:
        model: the model; its vocabulary has the size of the tokenizer's.
        target_tokenizer: decodes the generated ids.
        strategy: `GreedySearch`, `BeamSearch` or `Sampling`; `None` is `GreedySearch()`.

    Raises:
        ValueError: If the tokenizer does not fit the model. Calling the task raises one that names
            the image if an image cannot be read.

    Example:

    >>> import numpy as np
    >>> from keras_attention.models import captioner
    >>> from keras_attention.text import WordPieceTokenizer
    >>> tokenizer = WordPieceTokenizer.train(["a red circle", "a blue square"], 40)
    >>> model = captioner(tokenizer.vocabulary_size, image_size=32, hidden_dim=8)
    >>> task = Captioner(model, tokenizer, GreedySearch(max_new_tokens=5))
    >>> len(task([np.zeros((40, 50, 3), "uint8")] * 2))
    2
    """

    preprocessor: ImagePreprocessor
    postprocessor: CaptionPostprocessor

    def __init__(
        self, model: EncoderDecoder, target_tokenizer: Tokenizer, strategy: Strategy | None = None
    ):
        from keras_attention.images.preprocessors import ImagePreprocessor

        super().__init__(
            ImagePreprocessor(model.encoder.image_size),
            ModelRunner(model, strategy or GreedySearch()),
            CaptionPostprocessor(target_tokenizer, model.encoder.grid_shape),
        )

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images that the model reads."""
        return self.preprocessor.image_size

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Rows and columns of the cells that the attention weights refer to."""
        return self.postprocessor.grid_shape

    def attention(self, image: Image) -> ImageAlignment:  # type: ignore[override]
        """Describes one image and returns the attention weights of the best caption.

        Args:
            image: the image.

        Returns:
            An `ImageAlignment`, which `keras_attention.viz.plot_image_attention` draws.
        """
        pixels, ids, weights = self._generate_with_attention(image)
        grids = weights.reshape(len(ids), *self.grid_shape)  # (T, rows, columns)
        return ImageAlignment(pixels, self.target_tokenizer.tokens(ids), grids)

    def check_model(self, model: EncoderDecoder) -> None:
        check_vocabulary_size(
            "target_tokenizer", self.target_tokenizer, model.decoder.vocabulary_size
        )
        for name in ("image_size", "grid_shape"):
            expected, received = tuple(getattr(model.encoder, name)), tuple(getattr(self, name))
            if received != expected:
                raise ValueError(f"`{name}` must be the model's {expected}. Received: {received}")

    def save_parts(self, folder: Path) -> dict[str, Any]:
        self.target_tokenizer.save(folder / "target")
        return {"image_size": self.image_size, "grid_shape": self.grid_shape}

    @classmethod
    def load_parts(
        cls, folder: Path, config: dict[str, Any]
    ) -> tuple[ImagePreprocessor, CaptionPostprocessor]:
        from keras_attention.images.preprocessors import ImagePreprocessor

        postprocessor = CaptionPostprocessor(
            load_tokenizer(folder / "target"), config["grid_shape"]
        )
        return ImagePreprocessor(config["image_size"]), postprocessor
