"""What goes on from a pretrained encoder: a learning rate for each depth, and LoRA."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras

from keras_attention.layers.base_attention import BaseAttention
from keras_attention.layers.linear import Linear
from keras_attention.training.schedules import check_positive


def discriminative_rates(
    optimizer: keras.optimizers.Optimizer, layers: Sequence[keras.layers.Layer], factor: float = 2.6
) -> keras.optimizers.MultiOptimizer:
    """An optimizer whose rate is lower the deeper a layer lies (Howard and Ruder 2018, 3.2).

    The last of the layers learns at `rate / factor`, the one below it at `rate / factor ** 2`, and
    so on; whatever is in none of them, such as a new head, at the rate itself.

    It is Keras's `MultiOptimizer` over copies of the one given, so clipping by the global norm is
    by the norm of each depth. It knows weights by their paths, and those of a model from a
    `.keras` file are others: load such a file with `compile=False`, and compile it anew.

    Args:
        optimizer: any of Keras's, whose `learning_rate` is a number or a schedule.
        layers: from the bottom to the top, built; for a Transformer's encoder
            `[encoder.embedding, *encoder.body.blocks]`. A weight that several share, as a table of
            positions, belongs to the lowest.
        factor: how much lower each depth is; 2.6 in the paper.

    Returns:
        An optimizer for `compile`.

    Raises:
        ValueError: if there are no layers, one has no weights, or the factor is not positive.

    References:
        Howard and Ruder 2018, [Universal Language Model Fine-tuning](https://arxiv.org/abs/1801.06146).

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)])
    >>> optimizer = discriminative_rates(keras.optimizers.Adam(0.01), model.layers[:1], factor=2.0)
    >>> [round(float(each.learning_rate), 6) for each in optimizer.optimizers]
    [0.005, 0.01]
    """
    check_positive(factor=factor)
    if not layers:
        raise ValueError(f"layers: expected one at least. Received: layers={layers}")
    taken: set[str] = set()
    by_path = {}
    for depth, layer in enumerate(layers):
        paths = {variable.path for variable in layer.variables} - taken
        if not paths:
            raise ValueError(
                "layers: expected layers that are built, with weights that are in none below. "
                f"Received: {layer.name!r}"
            )
        taken |= paths
        share = factor ** (depth - len(layers))
        # One pattern for each rate: Keras saves an optimizer for every key.
        by_path["|".join(map(re.escape, sorted(paths)))] = _at_share(optimizer, share)
    rates = keras.optimizers.OptimizerMap(_at_share(optimizer, 1.0), by_path)
    return keras.optimizers.MultiOptimizer(rates)


def enable_lora(layer: keras.layers.Layer, rank: int, alpha: float | None = None) -> None:
    """Trains a low-rank change of the attention's weights in place of all weights (Hu et al. 2022).

    In every attention inside the layer each projection `W` becomes `W + alpha / rank * A B` by
    Keras's `enable_lora`, with `A` random and `B` zero; only `A` and `B` train, and all else in the
    layer stays as it is. Nothing that the layer gives changes until it is trained.

    Saving writes `W` with its change added: a model loaded from a file is an ordinary one, of the
    size it had. So the weights of a file cannot be trained on; enable LoRA anew after loading.

    Args:
        layer: the model, or the part of it that was pretrained, such as `model.encoder`; built. Do
            it before `compile`.
        rank: width of the change.
        alpha: how strong it is; `None` is `rank`.

    Raises:
        ValueError: if there is no attention inside, its weights are not there yet, or LoRA is
            already enabled.

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
            f"layer: expected one with attention inside, built. Received: {layer.name!r}"
        )
    for inner in layer._flatten_layers():
        inner.trainable = True  # in a layer that was frozen, A and B would be so too
    for variable in layer.trainable_variables:
        variable.trainable = False
    for projection in projections.values():
        projection.enable_lora(rank, lora_alpha=alpha)


@keras.saving.register_keras_serializable(package="keras_attention")
class Scaled(keras.optimizers.schedules.LearningRateSchedule):
    """A share of what another schedule says.

    Args:
        schedule: the other one.
        share: what it is multiplied by.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, share: float):
        self.schedule = schedule
        self.share = share

    def __call__(self, step: Any):
        return self.share * self.schedule(step)

    def get_config(self) -> dict:
        schedule = keras.optimizers.schedules.serialize(self.schedule)
        return {"schedule": schedule, "share": self.share}

    @classmethod
    def from_config(cls, config):
        schedule = keras.optimizers.schedules.deserialize(config["schedule"])
        return cls(schedule, config["share"])


def _at_share(optimizer, share):
    """A copy at a share of its rate."""
    config = optimizer.get_config()
    rate = config["learning_rate"]
    if isinstance(rate, dict):  # as Keras writes a schedule
        rate = Scaled(keras.optimizers.schedules.deserialize(rate), share)
    else:
        rate = share * rate
    return type(optimizer).from_config({**config, "learning_rate": rate})
