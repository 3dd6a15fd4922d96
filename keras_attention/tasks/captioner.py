"""Image decoding, model, generation and detokenizer as one thing that is called with images."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_attention.export import ImagesToTokens
from keras_attention.generation import GreedySearch, Strategy
from keras_attention.images import Image
from keras_attention.models import EncoderDecoder
from keras_attention.tasks.generating import Generating, cut
from keras_attention.tasks.task import check_vocabulary
from keras_attention.text import Tokenizer


class ImageAlignment(NamedTuple):
    """Where in an image each token looked.

    Attributes:
        image: uint8 (height, width, 3), as the model read it.
        target: the tokens.
        weights: `(target, rows, columns)`.
    """

    image: np.ndarray
    target: list[str]
    weights: np.ndarray


class Captioner(Generating, ImagesToTokens):
    """Says what is in an image with an `EncoderDecoder` whose encoder is an `ImageEncoder`.

    An image is the path of a JPEG or PNG file, its bytes, or an array (height, width, 3) of 0 to
    255. It is resized to what the model reads, its aspect not kept; grey, transparent and 16-bit
    images are converted (see `keras_attention.images.read_image`).

    Train `model` with `fit` on `keras_attention.images.captioned_batches`; the task sees its
    weights at every call.

    Args:
        model: the model; its vocabulary is as large as the tokenizer's.
        target_tokenizer: for the captions.
        strategy: `GreedySearch`, `BeamSearch` or `Sampling`; None is `GreedySearch()`.

    Raises:
        ValueError: if the tokenizer's vocabulary is not the model's; when called, if an image
            cannot be read, naming it.

    Example:

    >>> import numpy as np
    >>> from keras_attention.models import captioner
    >>> from keras_attention.text import WordPieceTokenizer
    >>> words = WordPieceTokenizer.train(["a red circle", "a blue square"], 40)
    >>> model = captioner(words.vocabulary_size, image_size=32, hidden_dim=8)
    >>> task = Captioner(model, words, GreedySearch(max_new_tokens=5))
    >>> len(task([np.zeros((40, 50, 3), "uint8")] * 2))
    2
    """

    def __init__(
        self, model: EncoderDecoder, target_tokenizer: Tokenizer, strategy: Strategy | None = None
    ):
        check_vocabulary("target_tokenizer", target_tokenizer, model.decoder.vocabulary_size)
        super().__init__(target_tokenizer, model.encoder.image_size, model.encoder.grid_shape)
        self.model = model
        self.strategy = strategy or GreedySearch()

    def attention(self, image: Image) -> ImageAlignment:
        """Captions one image and says where each token of the caption looked.

        Returns:
            A `ImageAlignment`, ready for `keras_attention.viz.plot_image_attention`.
        """
        source = self.encode([image])
        found = self.model.generate(source, self.strategy, attention=True)
        written = cut(found.ids[0, 0])
        weights = found.attention[0, 0, : len(written)]  # (T, cells)
        return ImageAlignment(
            source[0],
            self.target_tokenizer.tokens(written),
            weights.reshape(len(written), *self.grid_shape),
        )

    @classmethod
    def read_parts(cls, folder: Path, settings: dict) -> dict:
        # The model says the sizes itself.
        return {"target_tokenizer": super().read_parts(folder, settings)["target_tokenizer"]}
