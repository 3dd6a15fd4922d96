"""Fine-tuning of pretrained models: layer-wise learning rates and LoRA."""

from __future__ import annotations

import re
from collections.abc import Sequence

import keras

from keras_attention.layers.base_attention import BaseAttention
from keras_attention.layers.linear import Linear
from keras_attention.types import Tensor
from keras_attention.utils.validation import check_positive


def discriminative_rates(
    optimizer: keras.optimizers.Optimizer,
    layers: Sequence[keras.layers.Layer | Sequence[keras.layers.Layer]],
    factor: float = 2.6,
) -> keras.optimizers.MultiOptimizer:
    """Returns an optimizer with a lower learning rate for lower layers.

    Howard and Ruder 2018, section 3.2, discriminative fine-tuning: the last layer learns at
    `learning_rate / factor`, the one below it at `learning_rate / factor ** 2`, and so on; weights
    in none of the layers, such as those of a new head, learn at `learning_rate`.

    The result is a `keras.optimizers.MultiOptimizer` over copies of `optimizer`, so
    `global_clipnorm` applies to each layer separately. It identifies weights by their paths, which
    change when a model is loaded from a `.keras` file: load it with `compile=False` and compile it
    again.

    Args:
        optimizer: Keras optimizer, whose `learning_rate` is a number or a schedule.
        layers: built layers, from the bottom to the top; `[encoder.embedding,
            *encoder.body.blocks]` for a Transformer encoder. An item may be a list of layers that
            learn at one rate, such as `[encoder.body.position_bias, encoder.body.blocks[0]]`. A
            weight shared by several layers belongs to the lowest of them.
        factor: ratio of the learning rates of two successive layers; 2.6 in the paper.

    Returns:
        An optimizer for `compile`.

    Raises:
        ValueError: If there are no layers, a layer has no weights, or `factor` is not positive.

    References:
        Howard and Ruder 2018, [Universal Language Model Fine-tuning](https://arxiv.org/abs/1801.06146).

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)])
    >>> optimizer = discriminative_rates(keras.optimizers.Adam(0.01), model.layers[:1], factor=2.0)
    >>> [round(float(each.learning_rate), 6) for each in optimizer.optimizers]
    [0.005, 0.01]
    """
    check_positive("factor", factor)
    if not layers:
        raise ValueError(f"`layers` must contain at least one layer. Received: layers={layers}")
    assigned: set[str] = set()
    optimizers = {}
    for depth, item in enumerate(layers):
        group = list(item) if isinstance(item, Sequence) else [item]
        paths = {variable.path for layer in group for variable in layer.variables} - assigned
        if not paths:
            raise ValueError(
                "`layers` must be built and have weights that no lower layer has. "
                f"Received: {[layer.name for layer in group]}"
            )
        assigned |= paths
        # One pattern per layer, because Keras saves one optimizer per pattern.
        pattern = "|".join(map(re.escape, sorted(paths)))
        optimizers[pattern] = _scale_learning_rate(optimizer, factor ** (depth - len(layers)))
    default = _scale_learning_rate(optimizer, 1.0)
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(default, optimizers))


def enable_lora(layer: keras.layers.Layer, rank: int, alpha: float | None = None) -> None:
    """Makes a low-rank update of the attention projections the only trainable weights of a layer.

    Each projection `W` of every attention layer inside becomes `W + alpha / rank * A B` (Hu et al.
    2022, equation 3) by Keras's `enable_lora`. `A` is random and `B` is zero, so the outputs do not
    change before training. All other weights inside are frozen.

    Saving adds the update to `W`, so a model loaded from a file is an ordinary model. Enable LoRA
    again after loading to continue with it.

    Args:
        layer: the built model, or its pretrained part, such as `model.encoder`. Call this before
            `compile`.
        rank: rank of the update.
        alpha: scale of the update; `None` means `rank`.

    Raises:
        ValueError: If the layer contains no built attention layer, or LoRA is already enabled.

    References:
        Hu et al. 2022, [LoRA](https://arxiv.org/abs/2106.09685).

    Example:

    >>> from keras_attention.models import classifier
    >>> model = classifier(12, num_classes=3, num_layers=1, hidden_dim=8, num_heads=2)
    >>> enable_lora(model.encoder, rank=2)
    >>> [variable.name for variable in model.encoder.trainable_variables]
    ['lora_kernel_a', 'lora_kernel_b', 'lora_kernel_a', 'lora_kernel_b']
    """
    projections = {
        id(inner): inner
        for outer in layer._flatten_layers()
        if isinstance(outer, BaseAttention)
        for inner in outer._flatten_layers()
        if isinstance(inner, Linear)
    }
    if not projections:
        raise ValueError(
            f"`layer` must contain a built attention layer. Received: layer={layer.name!r}"
        )
    for inner in layer._flatten_layers():
        inner.trainable = True  # otherwise A and B of a frozen layer would be frozen, too
    for variable in layer.trainable_variables:
        variable.trainable = False
    for projection in projections.values():
        projection.enable_lora(rank, lora_alpha=alpha)


@keras.saving.register_keras_serializable(package="keras_attention")
class ScaledSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning-rate schedule multiplied by a constant.

    Args:
        schedule: the schedule.
        scale: the constant.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, scale: float):
        self.schedule = schedule
        self.scale = scale

    def __call__(self, step: Tensor) -> Tensor:
        return self.scale * self.schedule(step)

    def get_config(self) -> dict:
        schedule = keras.optimizers.schedules.serialize(self.schedule)
        return {"schedule": schedule, "scale": self.scale}

    @classmethod
    def from_config(cls, config):
        schedule = keras.optimizers.schedules.deserialize(config["schedule"])
        return cls(schedule, config["scale"])


def _scale_learning_rate(optimizer, scale):
    """Returns a copy of the optimizer with its learning rate multiplied."""
    config = optimizer.get_config()
    rate = config["learning_rate"]
    if isinstance(rate, dict):  # a serialized schedule
        rate = ScaledSchedule(keras.optimizers.schedules.deserialize(rate), scale)
    else:
        rate = scale * rate
    return type(optimizer).from_config({**config, "learning_rate": rate})
