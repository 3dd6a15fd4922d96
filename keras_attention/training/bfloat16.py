"""Training in half precision, of a model that scores and saves itself in its own."""

from __future__ import annotations

from typing import Any

import keras

MIXED = "mixed_bfloat16"


class Bfloat16(keras.callbacks.Callback):
    """Trains a float32 model with products in bfloat16; the weights stay float32.

    From the first batch of an epoch to its end every layer has the policy `"mixed_bfloat16"`. The
    callbacks behind this one, and whoever has the model after `fit`, find the policies that it
    came with, so that what they score, save and export is a float32 model. Faster where the
    processor multiplies bfloat16 in hardware, as GPUs, TPUs and recent CPUs do; on a CPU
    TensorFlow does so without XLA alone.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(np.ones((4, 2)), np.ones((4, 1)), callbacks=[Bfloat16()], verbose=0)
    >>> model.layers[0].compute_dtype
    'float32'
    """

    def __init__(self):
        super().__init__()
        self.own = []  # the policies that the layers came with, while they have the other

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self.own:
            self.own = [layer.dtype_policy for layer in self.model._flatten_layers()]
            self._set([MIXED] * len(self.own))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.restore()

    def restore(self) -> None:
        """Gives the layers their own policies; to be called where `fit` was interrupted."""
        if self.own:
            self._set(self.own)
            self.own = []

    def _set(self, policies):
        for layer, policy in zip(self.model._flatten_layers(), policies, strict=True):
            layer.dtype_policy = policy
            if isinstance(layer, keras.layers.ReversibleEmbedding):
                layer.reverse_dtype = layer.compute_dtype
