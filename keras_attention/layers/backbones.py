"""Networks from an image to a grid of features, for an `ImageEncoder`."""

import contextlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
from keras import ops

from keras_attention.layers.build import build_if_needed
from keras_attention.layers.validation import check_positive


@keras.saving.register_keras_serializable(package="keras_attention")
class ResidualCNN(keras.layers.Layer):
    """A compact residual network that trains from scratch on two cores (He et al. 2016).

    A convolution of stride 2, then a stage for each width; every stage but the first halves rows
    and columns. With n widths a cell stands for a square of `2^n` pixels and looks from its middle:
    what halves has even kernels, where the paper's 3 x 3 would look from the lower right corner.

    Args:
        filters: channels of each stage.
        blocks: residual blocks in a stage.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Call arguments:
        images: (B, H, W, 3), float from -1 to 1.
        training: whether the batch is normalized by its own statistics.

    Returns:
        (B, H / 2^n, W / 2^n, C), sizes rounded up, C the last of the widths.

    Raises:
        ValueError: if there is no stage, or a number is not positive.

    References:
        He et al. 2016, [Deep Residual Learning](https://arxiv.org/abs/1512.03385).

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
        same = {"dtype": self.dtype_policy}
        self.stem, self.stem_norm = convolution(filters[0], 4, 2, **same), batch_norm(**same)
        self.stack = [
            ResidualBlock(width, 2 if stage and not depth else 1, **same)
            for stage, width in enumerate(filters)
            for depth in range(blocks)
        ]

    def build(self, images_shape):
        shape = images_shape
        for layer in [self.stem, self.stem_norm, *self.stack]:
            build_if_needed(layer, shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, images, training=None):
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
    """`relu(F(x) + W_s x)`, F being two convolutions (He et al. 2016, equations 1 and 2).

    `W_s` is there where the stride or the width changes the shape.

    Args:
        filters: channels of the output.
        stride: of the first convolution.
        **kwargs: `name`, `dtype` and so on.

    Example:

    >>> import numpy as np
    >>> tuple(ResidualBlock(8, stride=2)(np.ones((2, 6, 6, 4), "float32")).shape)
    (2, 3, 3, 8)
    """

    def __init__(self, filters: int, stride: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        same = {"dtype": self.dtype_policy}
        size = 3 if stride == 1 else 2 * stride
        self.first, self.first_norm = convolution(filters, size, stride, **same), batch_norm(**same)
        self.second, self.second_norm = convolution(filters, 3, 1, **same), batch_norm(**same)
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

    def call(self, x, training=None):
        y = ops.relu(self.first_norm(self.first(x), training=training))
        y = self.second_norm(self.second(y), training=training)
        return ops.relu(y + (x if self.shortcut is None else self.shortcut(x)))

    def compute_output_shape(self, x_shape):
        return self.first.compute_output_shape(x_shape)


@keras.saving.register_keras_serializable(package="keras_attention")
class KerasApplicationBackbone(keras.layers.Layer):
    """A network of `keras.applications` without its top, behind its own preprocessing.

    Frozen, its weights and statistics stay as they are and dropout is off, also in training.

    Args:
        network: its name there, as "MobileNetV2".
        weights: `None` (random), "imagenet" (which Keras downloads) or a file of weights without
            the top. A saved model has its weights in its own file and asks for none.
        trainable: whether it is fine-tuned; frozen otherwise.
        options: further arguments of that network, as `{"alpha": 0.35}`.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Call arguments:
        images: (B, H, W, 3), float from -1 to 1.
        training: read where `trainable`.

    Returns:
        (B, h, w, C), as the network makes them; often h is H / 32.

    Raises:
        ValueError: if Keras has no such network, or the file is not there.

    Example:

    >>> import numpy as np
    >>> grid = KerasApplicationBackbone("MobileNetV2", options={"alpha": 0.35})
    >>> tuple(grid(np.zeros((1, 64, 64, 3), "float32")).shape)
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
        # Networks differ in the pixels they take; those are made in float32.
        super().__init__(autocast=False, **kwargs)
        if weights not in (None, "imagenet") and not Path(weights).is_file():
            raise ValueError(
                "weights: expected None, 'imagenet', or a file that is there. "
                f"Received: weights={str(weights)!r}"
            )
        make, self.preprocess = _application(network)
        self.network = network
        self.options = dict(options or {})
        with _settings(self.dtype_policy):
            self.model = make(
                include_top=False,
                weights=None if weights is None else str(weights),
                input_shape=(None, None, 3),
                **self.options,
            )
        self.trainable = trainable

    def build(self, images_shape):
        self.built = True

    def call(self, images, training=None):
        pixels = self.preprocess((images + 1.0) * 127.5, data_format="channels_last")
        return self.model(pixels, training=training if self.trainable else False)  # (B, h, w, C)

    def compute_output_shape(self, images_shape):
        return self.model.compute_output_shape(images_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "network": self.network, "options": self.options}


def _application(name):
    """The network of that name and the preprocessing that stands beside it."""
    modules = [x for x in vars(keras.applications).values() if inspect.ismodule(x)]
    found = {
        name: (value, module.preprocess_input)
        for module in modules
        for name, value in vars(module).items()
        if name[0].isupper()
    }
    if name not in found:
        raise ValueError(f"network: expected one of {sorted(found)}. Received: network={name!r}")
    return found[name]


@contextlib.contextmanager
def _settings(policy) -> Iterator[None]:
    """The networks ask Keras alone for the dtype and the order of the axes."""
    before = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before[0])
        keras.config.set_image_data_format(before[1])


def convolution(filters: int, size: int, stride: int, **kwargs: Any) -> keras.layers.Conv2D:
    """A convolution in front of a norm."""
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
    """Keras's own momentum, 0.99, is late in a training of a few hundred steps."""
    return keras.layers.BatchNormalization(momentum=0.9, **kwargs)
