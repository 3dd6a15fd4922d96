"""Image encoder: feature grid, 2-D positions, and the grid cells as one sequence."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.layers.build import build_if_needed, deserialize_config
from keras_attention.layers.validation import check_images
from keras_attention.ops.dtypes import at_least_float32
from keras_attention.ops.positions import sinusoidal
from keras_attention.utils.validation import check_positive

POSITIONS = ("sinusoidal", "learned", None)


@keras.saving.register_keras_serializable(package="keras_attention")
class ImageEncoder(keras.layers.Layer):
    """Image encoder: a backbone, 2-D positions, and the grid cells as one sequence.

    A decoder attends to the cells as it attends to the tokens of a `TextEncoder`. Cell
    `r * columns + c` is row r, column c of the feature grid.

    Args:
        backbone: Layer from images `(B, H, W, 3)` of floats between -1 and 1 to a feature grid
            `(B, h, w, C)`: `ResidualCNN`, `KerasApplicationBackbone`, `Patches`, or any Keras
            model. It must implement `compute_output_shape`.
        image_size: Height and width of the images, or one number for both.
        positions: Position vectors added to the cells: `"sinusoidal"` (see `positions_2d`),
            `"learned"` (Dosovitskiy et al. 2021, equation 1), or `None`.
        body: Encoder over the cells, such as `TransformerEncoder`, or `None`.
        dropout: Dropout rate applied to the cells, before the body.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        images: Images, `(B, H, W, 3)`, numbers between 0 and 255, also if they are floats.
        training: Whether backbone and body run in training mode, with dropout.

    Returns:
        Dictionary of `"sequence"`, the cells, `(B, S, C)`, and `"state"`, their mean, `(B, C)`.

    Raises:
        ValueError: If `positions` is unknown, a size is not positive, a layer of the backbone is
            channels-first, or the positions are sinusoidal and C is not a multiple of 4.

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
        backbone: keras.layers.Layer,
        image_size: int | tuple[int, int],
        positions: str | None = "sinusoidal",
        body: keras.layers.Layer | None = None,
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        # Pixels are scaled in float32 at least, also in mixed precision.
        super().__init__(autocast=False, **kwargs)
        if positions not in POSITIONS:
            raise ValueError(
                f"`positions` must be one of {POSITIONS}. Received: positions={positions!r}"
            )
        check_channels_last(backbone)
        self.image_size = (image_size,) * 2 if isinstance(image_size, int) else tuple(image_size)
        for size in self.image_size:
            check_positive("image_size", size)
        self.backbone = backbone
        self.positions = positions
        self.body = body
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.input_spec = keras.layers.InputSpec(shape=(None, *self.image_size, 3))
        # Keras would attach the mask to one entry of the dictionary; callers pass it explicitly.
        self.supports_masking = False

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Number of rows and columns of the feature grid."""
        return tuple(self._features_shape()[1:3])

    def source_input(self) -> Any:
        """Returns the `keras.Input` of a functional model: images `(B, H, W, 3)`."""
        return keras.Input((*self.image_size, 3), dtype="uint8", name="source")

    def build(self, images_shape):
        build_if_needed(self.backbone, images_shape)
        rows, columns, width = self._features_shape()[1:]
        if self.positions == "sinusoidal" and width % 4:
            raise ValueError(
                "Sinusoidal `positions` require a number of channels that is a multiple of 4. "
                f"Received: positions='sinusoidal', channels={width}"
            )
        if self.positions == "learned":
            self.table = self.add_weight(
                shape=(rows * columns, width), initializer="uniform", name="positions"
            )
        if self.body is not None:
            build_if_needed(self.body, (None, rows * columns, width))
        self.built = True

    def call(self, images: Any, training: bool | None = None):
        wide = keras.backend.result_type(self.compute_dtype, "float32")
        x = self.backbone(ops.cast(images, wide) / 127.5 - 1.0, training=training)  # (B, h, w, C)
        rows, columns = self.grid_shape
        x = ops.reshape(x, (ops.shape(x)[0], rows * columns, x.shape[-1]))  # (B, S, C)
        if self.positions == "learned":
            x = x + ops.cast(self.table, x.dtype)
        elif self.positions == "sinusoidal":
            x = x + ops.cast(positions_2d(rows, columns, x.shape[-1], wide), x.dtype)
        x = self.dropout(x, training=training)
        if self.body is not None:
            x = self.body(x, training=training)["sequence"]
        mean = ops.cast(ops.mean(at_least_float32(x), axis=1), x.dtype)
        return {"sequence": x, "state": mean}

    def compute_mask(self, images, previous_mask=None):
        rows, columns = self.grid_shape
        mask = ops.ones_like(images[:, 0, 0, :1], dtype="bool")  # (B, 1)
        return ops.repeat(mask, rows * columns, axis=1)  # (B, S)

    def check(self, images: np.ndarray) -> None:
        """Raises a `ValueError` unless these are images `(B, H, W, 3)` of the encoder's size."""
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != (*self.image_size, 3):
            raise ValueError(
                f"`source` must be images of shape {('batch', *self.image_size, 3)}. "
                f"Received: source.shape={images.shape}"
            )
        if images.dtype.kind not in "ui":
            raise ValueError(
                "`source` must contain integers from 0 to 255; multiply floats from 0 to 1 by 255 "
                f"and round them. Received: source.dtype={images.dtype}"
            )
        if images.size and not 0 <= images.min() <= images.max() <= 255:
            raise ValueError(
                "The pixels of `source` must be between 0 and 255. "
                f"Received: pixels between {images.min()} and {images.max()}"
            )

    def _features_shape(self):
        return self.backbone.compute_output_shape((None, *self.image_size, 3))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "image_size": self.image_size,
            "positions": self.positions,
            "body": keras.saving.serialize_keras_object(self.body),
            "dropout": self.dropout.rate,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_config(config, "backbone", "body"))


def check_channels_last(backbone: keras.layers.Layer) -> None:
    """Raises a `ValueError` if a layer of the backbone has its channels first."""
    for layer in backbone._flatten_layers():
        if getattr(layer, "data_format", None) == "channels_first":
            raise ValueError(
                "The layers of the backbone must have data_format='channels_last'. "
                f"Received: {layer.name} with data_format='channels_first'"
            )


def positions_2d(rows: int, columns: int, width: int, dtype: str = "float32"):
    """Returns the sinusoidal position vectors of a grid.

    The first half of the features is the sinusoid of the row, the second half that of the column
    (Carion et al. 2020, appendix A.4, with positions counted in cells).

    Args:
        rows: Number of rows.
        columns: Number of columns.
        width: Number of features, a multiple of 4.
        dtype: `"float32"` or `"float64"`.

    Returns:
        Position vectors of the cells, row by row, `(rows * columns, width)`.

    References:
        Carion et al. 2020, [End-to-End Object Detection with
        Transformers](https://arxiv.org/abs/2005.12872).

    Example:

    >>> from keras import ops
    >>> ops.convert_to_numpy(positions_2d(2, 2, 4))[1].round(2).tolist()
    [0.0, 1.0, 0.8399999737739563, 0.5400000214576721]
    """
    row_vectors = sinusoidal(ops.arange(rows), width // 2, dtype=dtype)  # (rows, width / 2)
    column_vectors = sinusoidal(ops.arange(columns), width // 2, dtype=dtype)
    halves = [ops.repeat(row_vectors, columns, axis=0), ops.tile(column_vectors, (rows, 1))]
    return ops.concatenate(halves, axis=-1)  # (rows * columns, width)


@keras.saving.register_keras_serializable(package="keras_attention")
class Patches(keras.layers.Layer):
    """Patch embedding of the Vision Transformer.

    Flattens the patches of an image and projects them linearly, `x_p E` (Dosovitskiy et al. 2021,
    equation 1), with a bias as in the authors' code.

    Args:
        patch_size: P, height and width of a patch.
        hidden_dim: D, number of features of an embedded patch.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        images: Images, `(B, H, W, 3)`.

    Returns:
        Embedded patches, `(B, H / P, W / P, D)`.

    Raises:
        ValueError: If a size is not positive, or, when the layer is built, the images are not
            channels-last, or P does not divide H and W.

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
        # Projecting every patch by E is a convolution with a stride of one patch.
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
        check_images(images_shape)
        if any(size and size % self.patch_size for size in images_shape[1:3]):
            raise ValueError(
                "`patch_size` must divide the height and width of the images. "
                f"Received: patch_size={self.patch_size}, images.shape={tuple(images_shape)}"
            )
        build_if_needed(self.projection, images_shape)
        self.built = True

    def call(self, images: Any):
        return self.projection(images)  # (B, H / P, W / P, D)

    def compute_output_shape(self, images_shape):
        return self.projection.compute_output_shape(images_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "patch_size": self.patch_size,
            "hidden_dim": self.hidden_dim,
        }
