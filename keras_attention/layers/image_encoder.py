"""Images -> a grid of features -> cells in a row, which a decoder reads as it reads text."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.layers.build import build_if_needed
from keras_attention.layers.config import deserialize_config
from keras_attention.layers.validation import check_positive
from keras_attention.ops.positions import sinusoidal

POSITIONS = ("sinusoidal", "learned", None)


@keras.saving.register_keras_serializable(package="keras_attention")
class ImageEncoder(keras.layers.Layer):
    """Images to cells with their 2-D positions: to images what `TextEncoder` is to text.

    Cell `r * columns + c` is row r, column c of the grid.

    Args:
        grid: layer from images (B, H, W, 3), float from -1 to 1, to features (B, h, w, C), with
            `compute_output_shape`: `ResidualCNN`, `KerasApplicationBackbone`, `Patches`, or any
            Keras model.
        image_size: H and W, or one number for both.
        positions: what is added to the cells: `"sinusoidal"` (see `positions_2d`), `"learned"` (a
            vector for each cell, Dosovitskiy et al. 2021, equation 1), or `None`.
        body: layer over the cells, as `TransformerEncoder`, or `None`.
        dropout: rate on the cells, before the body.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Call arguments:
        images: (B, H, W, 3), uint8, or float from 0 to 255.
        training: whether the grid and the body train, and there is dropout.

    Returns:
        `{"sequence": (B, cells, C), "state": (B, C)}`, the state being the mean over the cells.

    Raises:
        ValueError: if `positions` is unknown, a size is not positive, or 4 does not divide C and
            there are sinusoids.

    Example:

    >>> import numpy as np
    >>> from keras_attention.layers import ResidualCNN
    >>> encoder = ImageEncoder(ResidualCNN((8, 16)), image_size=32)
    >>> encoded = encoder(np.zeros((2, 32, 32, 3), "uint8"))
    >>> tuple(encoded["sequence"].shape), encoder.grid_shape
    ((2, 64, 16), (8, 8))
    """

    def __init__(
        self,
        grid: keras.layers.Layer,
        image_size: int | tuple[int, int],
        positions: str | None = "sinusoidal",
        body: keras.layers.Layer | None = None,
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        # Pixels are scaled in float32, whatever the dtype of the layers behind.
        super().__init__(autocast=False, **kwargs)
        if positions not in POSITIONS:
            raise ValueError(
                f"positions: expected one of {POSITIONS}. Received: positions={positions!r}"
            )
        self.image_size = (image_size,) * 2 if isinstance(image_size, int) else tuple(image_size)
        for size in self.image_size:
            check_positive("image_size", size)
        self.grid = grid
        self.positions = positions
        self.body = body
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.input_spec = keras.layers.InputSpec(shape=(None, *self.image_size, 3))
        # Keras would hang the mask on one entry of the dictionary; callers pass it on instead.
        self.supports_masking = False

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        return tuple(self._features_shape()[1:3])

    def source_input(self) -> Any:
        """What a functional model reads: images."""
        return keras.Input((*self.image_size, 3), dtype="uint8", name="source")

    def build(self, images_shape):
        build_if_needed(self.grid, images_shape)
        rows, columns, width = self._features_shape()[1:]
        if self.positions == "sinusoidal" and width % 4:
            raise ValueError(
                "positions: sinusoids of rows and columns need a grid whose channels 4 divides. "
                f"Received: positions='sinusoidal', {width} channels"
            )
        if self.positions == "learned":
            self.table = self.add_weight(
                shape=(rows * columns, width), initializer="uniform", name="positions"
            )
        if self.body is not None:
            build_if_needed(self.body, (None, rows * columns, width))
        self.built = True

    def call(self, images, training=None):
        x = self.grid(ops.cast(images, "float32") / 127.5 - 1.0, training=training)  # (B, h, w, C)
        rows, columns = self.grid_shape
        x = ops.reshape(x, (ops.shape(x)[0], rows * columns, x.shape[-1]))  # (B, cells, C)
        if self.positions == "learned":
            x = x + ops.cast(self.table, x.dtype)
        elif self.positions == "sinusoidal":
            x = x + ops.cast(positions_2d(rows, columns, x.shape[-1]), x.dtype)
        x = self.dropout(x, training=training)
        if self.body is not None:
            x = self.body(x, training=training)["sequence"]
        return {"sequence": x, "state": ops.mean(x, axis=1)}

    def compute_mask(self, images, previous_mask=None):
        rows, columns = self.grid_shape
        kept = ops.ones_like(images[:, 0, 0, :1], dtype="bool")  # (B, 1)
        return ops.repeat(kept, rows * columns, axis=1)  # (B, cells)

    def check(self, images: np.ndarray) -> None:
        """Raises a `ValueError` unless these are images (batch, H, W, 3) that it can read."""
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != (*self.image_size, 3):
            raise ValueError(
                f"source: expected images of shape {('batch', *self.image_size, 3)}. "
                f"Received: shape={images.shape}"
            )
        if images.dtype.kind not in "uif":
            raise ValueError(f"source: expected numbers. Received: dtype={images.dtype}")
        if images.size and not 0 <= images.min() <= images.max() <= 255:
            raise ValueError(
                "source: expected pixels from 0 to 255. "
                f"Received: pixels from {images.min()} to {images.max()}"
            )

    def _features_shape(self):
        return self.grid.compute_output_shape((None, *self.image_size, 3))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "grid": keras.saving.serialize_keras_object(self.grid),
            "image_size": self.image_size,
            "positions": self.positions,
            "body": keras.saving.serialize_keras_object(self.body),
            "dropout": self.dropout.rate,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_config(config, "grid", "body"))


def positions_2d(rows: int, columns: int, width: int):
    """Sinusoids of a grid: those of the row in the first half of the features, then the column's.

    Carion et al. 2020 (https://arxiv.org/abs/2005.12872), appendix A.4, with positions that count
    cells.

    Args:
        rows: of the grid.
        columns: of the grid.
        width: features of a cell; 4 divides it.

    Returns:
        float32 tensor (rows * columns, width).

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(positions_2d(2, 2, 4))[1].round(2).tolist()
    [0.0, 1.0, 0.8399999737739563, 0.5400000214576721]
    """
    of_rows = sinusoidal(ops.arange(rows), width // 2)  # (rows, width / 2)
    of_columns = sinusoidal(ops.arange(columns), width // 2)  # (columns, width / 2)
    parts = [ops.repeat(of_rows, columns, axis=0), ops.tile(of_columns, (rows, 1))]
    return ops.concatenate(parts, axis=-1)


@keras.saving.register_keras_serializable(package="keras_attention")
class Patches(keras.layers.Layer):
    """Patches of the image, flattened and projected: `x_p E` (Dosovitskiy et al. 2021, equation 1).

    With a bias, as in the authors' code.

    Args:
        patch_size: P; it divides both sides of the image.
        hidden_dim: D, features of a patch.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Call arguments:
        images: (B, H, W, 3).

    Returns:
        (B, H / P, W / P, D).

    Raises:
        ValueError: if a size is not positive; when built, if P does not divide H and W.

    References:
        Dosovitskiy et al. 2021, [An Image is Worth 16x16 Words](https://arxiv.org/abs/2010.11929).

    Example:

    >>> import numpy as np
    >>> tuple(Patches(8, hidden_dim=16)(np.ones((2, 32, 24, 3), "float32")).shape)
    (2, 4, 3, 16)
    """

    def __init__(self, patch_size: int, hidden_dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("patch_size", patch_size)
        check_positive("hidden_dim", hidden_dim)
        self.patch_size = patch_size
        self.hidden_dim = hidden_dim
        # a product with E for every patch is a convolution that steps by whole patches
        self.projection = keras.layers.Conv2D(
            hidden_dim,
            patch_size,
            strides=patch_size,
            kernel_initializer="lecun_normal",
            data_format="channels_last",
            name="projection",
            dtype=self.dtype_policy,
        )

    def build(self, images_shape):
        if any(size and size % self.patch_size for size in images_shape[1:3]):
            raise ValueError(
                "patch_size: expected a divisor of the image's height and width. "
                f"Received: patch_size={self.patch_size}, images.shape={tuple(images_shape)}"
            )
        build_if_needed(self.projection, images_shape)
        self.built = True

    def call(self, images):
        return self.projection(images)  # (B, H / P, W / P, D)

    def compute_output_shape(self, images_shape):
        return self.projection.compute_output_shape(images_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "patch_size": self.patch_size,
            "hidden_dim": self.hidden_dim,
        }
