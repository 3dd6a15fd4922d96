"""Image backbones: networks from an image to a feature grid, for `ImageEncoder`."""

import contextlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
from keras import ops

from keras_attention.layers.build import build_if_needed
from keras_attention.layers.validation import check_images
from keras_attention.utils.validation import check_positive


@keras.saving.register_keras_serializable(package="keras_attention")
class ResidualCNN(keras.layers.Layer):
    """Small residual network that can be trained from scratch on a CPU.

    A convolution of stride 2 is followed by one stage of residual blocks per entry of `filters`;
    every stage except the first halves the resolution. With n stages a grid cell covers a square of
    `2^n` pixels. Convolutions of stride 2 have kernels of even size, which keeps the receptive
    field of a cell centered on its square; the paper's 3 x 3 kernels would shift it.

    Args:
        filters: Number of channels of each stage.
        blocks: Number of residual blocks per stage.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        images: Images, `(B, H, W, 3)`, float between -1 and 1.
        training: Whether batch normalization uses the statistics of the batch.

    Returns:
        Feature grid, `(B, H / 2^n, W / 2^n, C)`, sizes rounded up, with C the last of `filters`.

    Raises:
        ValueError: If there is no stage, or a number is not positive; when built, if the images are
            not channels-last.

    References:
        He et al. 2016, [Deep Residual Learning for Image
        Recognition](https://arxiv.org/abs/1512.03385).

    Example:

    >>> import numpy as np
    >>> tuple(ResidualCNN((8, 16))(np.ones((2, 32, 24, 3), "float32")).shape)
    (2, 8, 6, 16)
    """

    def __init__(self, filters: tuple[int, ...] = (32, 64, 128), blocks: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("number of stages", len(filters))
        check_positive("blocks", blocks)
        for width in filters:
            check_positive("filters", width)
        self.filters = tuple(filters)
        self.blocks = blocks
        dtype = self.dtype_policy
        self.stem = convolution(filters[0], size=4, stride=2, dtype=dtype)
        self.stem_norm = batch_norm(dtype=dtype)
        self.stack = [
            ResidualBlock(width, stride=2 if stage and not depth else 1, dtype=dtype)
            for stage, width in enumerate(filters)
            for depth in range(blocks)
        ]

    def build(self, images_shape):
        check_images(images_shape)
        shape = images_shape
        for layer in [self.stem, self.stem_norm, *self.stack]:
            build_if_needed(layer, shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, images: Any, training: bool | None = None):
        x = ops.relu(self.stem_norm(self.stem(images), training=training))  # (B, H/2, W/2, C_1)
        for block in self.stack:
            x = block(x, training=training)
        return x

    def compute_output_shape(self, images_shape):
        batch, *sizes, _ = images_shape
        step = 2 ** len(self.filters)
        sizes = [None if size is None else -(-size // step) for size in sizes]
        return (batch, *sizes, self.filters[-1])

    def get_config(self) -> dict:
        return {**super().get_config(), "filters": self.filters, "blocks": self.blocks}


class ResidualBlock(keras.layers.Layer):
    """Residual block of two convolutions, `relu(F(x) + W_s x)`.

    He et al. 2016, equations 1 and 2; the shortcut has the projection `W_s` only if the block
    changes the shape.

    Args:
        filters: Number of output channels.
        stride: Stride of the first convolution.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        x: Features, `(B, H, W, C)`.
        training: Whether batch normalization uses the statistics of the batch.

    Returns:
        Features, `(B, H / stride, W / stride, filters)`.

    Example:

    >>> import numpy as np
    >>> tuple(ResidualBlock(8, stride=2)(np.ones((2, 6, 6, 4), "float32")).shape)
    (2, 3, 3, 8)
    """

    def __init__(self, filters: int, stride: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        dtype = self.dtype_policy
        size = 3 if stride == 1 else 2 * stride
        self.first = convolution(filters, size, stride, dtype=dtype)
        self.first_norm = batch_norm(dtype=dtype)
        self.second = convolution(filters, size=3, stride=1, dtype=dtype)
        self.second_norm = batch_norm(dtype=dtype)
        self.shortcut = None

    def build(self, x_shape):
        inner = self.first.compute_output_shape(x_shape)
        build_if_needed(self.first, x_shape)
        for layer in (self.first_norm, self.second, self.second_norm):
            build_if_needed(layer, inner)
        filters, stride = self.first.filters, self.first.strides
        if stride != (1, 1) or x_shape[-1] != filters:
            self.shortcut = convolution(filters, stride, stride, dtype=self.dtype_policy)
            build_if_needed(self.shortcut, x_shape)
        self.built = True

    def call(self, x: Any, training: bool | None = None):
        y = ops.relu(self.first_norm(self.first(x), training=training))
        y = self.second_norm(self.second(y), training=training)
        return ops.relu(y + (x if self.shortcut is None else self.shortcut(x)))

    def compute_output_shape(self, x_shape):
        return self.first.compute_output_shape(x_shape)


@keras.saving.register_keras_serializable(package="keras_attention")
class KerasApplicationBackbone(keras.layers.Layer):
    """Network of `keras.applications` without its classification head.

    Images are preprocessed as the network requires. A frozen network always runs in inference mode,
    also while the rest of the model is trained.

    Args:
        network: Name of the network, such as `"MobileNetV2"`.
        weights: Initial weights: `None` for random ones, `"imagenet"` to download them, or the path
            of a weights file without the head. A saved model contains the weights and does not need
            the file.
        trainable: Whether the network is fine-tuned. It is frozen otherwise.
        options: Other arguments of the network, such as `{"alpha": 0.35}`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        images: Images, `(B, H, W, 3)`, float between -1 and 1.
        training: Whether to run in training mode, if the network is trainable.

    Returns:
        Feature grid, `(B, h, w, C)`; for most networks h is H / 32.

    Raises:
        ValueError: If `keras.applications` has no such network, or the weights file does not exist;
            when built, if the images are not channels-last.

    Example:

    >>> import numpy as np
    >>> backbone = KerasApplicationBackbone("MobileNetV2", options={"alpha": 0.35})
    >>> tuple(backbone(np.zeros((1, 64, 64, 3), "float32")).shape)
    (1, 2, 2, 1280)
    """

    def __init__(
        self,
        network: str,
        weights: str | Path | None = None,
        trainable: bool = False,
        options: dict | None = None,
        **kwargs: Any,
    ):
        # Pixels are preprocessed in float32, also in mixed precision.
        super().__init__(autocast=False, **kwargs)
        if weights not in (None, "imagenet") and not Path(weights).is_file():
            raise ValueError(
                "`weights` must be None, 'imagenet' or the path of an existing file. "
                f"Received: weights={str(weights)!r}"
            )
        build_network, self.preprocess = _application(network)
        self.network = network
        self.options = dict(options or {})
        with _global_settings(self.dtype_policy):
            self.model = build_network(
                include_top=False,
                weights=None if weights is None else str(weights),
                input_shape=(None, None, 3),
                **self.options,
            )
        self.trainable = trainable

    def build(self, images_shape):
        check_images(images_shape)
        self.built = True

    def call(self, images: Any, training: bool | None = None):
        pixels = self.preprocess((images + 1.0) * 127.5, data_format="channels_last")
        return self.model(pixels, training=training if self.trainable else False)  # (B, h, w, C)

    def compute_output_shape(self, images_shape):
        return self.model.compute_output_shape(images_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "network": self.network, "options": self.options}


def _application(name):
    """Returns the constructor of a network and its preprocessing function."""
    modules = [x for x in vars(keras.applications).values() if inspect.ismodule(x)]
    networks = {
        name: (value, module.preprocess_input)
        for module in modules
        for name, value in vars(module).items()
        if name[0].isupper()
    }
    if name not in networks:
        raise ValueError(f"`network` must be one of {sorted(networks)}. Received: network={name!r}")
    return networks[name]


@contextlib.contextmanager
def _global_settings(policy) -> Iterator[None]:
    """Sets the global dtype policy and data format, the only ones `keras.applications` reads."""
    before = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before[0])
        keras.config.set_image_data_format(before[1])


def convolution(filters: int, size: int, stride: int, **kwargs: Any) -> keras.layers.Conv2D:
    """Builds a convolution without bias, to be followed by batch normalization."""
    return keras.layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        data_format="channels_last",
        **kwargs,
    )


def batch_norm(**kwargs: Any) -> keras.layers.BatchNormalization:
    """Builds batch normalization whose statistics converge within a few hundred steps."""
    return keras.layers.BatchNormalization(momentum=0.9, **kwargs)
