"""Training of a float32 model with bfloat16 computation."""

from __future__ import annotations

from typing import Any

import keras

from keras_attention.utils.compiled import FUNCTIONS

MIXED = "mixed_bfloat16"


class Bfloat16(keras.callbacks.Callback):
    """Trains a float32 model with the computation in bfloat16; the weights stay float32.

    Every layer has the policy `"mixed_bfloat16"` from the first batch of an epoch to its end, and
    its original policy otherwise. So the following callbacks, and the caller of `fit`, score, save
    and export a float32 model. It is faster on hardware that multiplies bfloat16: GPUs, TPUs and
    recent CPUs (on a CPU, TensorFlow uses it only without XLA).

    The compiled functions of the model are exchanged together with the policies, so that `fit`
    without this callback, `evaluate` and `predict` never run what was compiled in bfloat16. The
    `validation_data` of `fit` are computed in bfloat16, as the epoch ends after them.

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
        self._original_policies = []  # empty while the layers have them
        self._other_functions = dict.fromkeys(FUNCTIONS)  # those compiled in the other precision

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._other_functions = dict.fromkeys(FUNCTIONS)  # the model may have been compiled anew

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._original_policies:
            self._original_policies = [layer.dtype_policy for layer in self.model._flatten_layers()]
            self._set([MIXED] * len(self._original_policies))
            self.model.make_train_function()  # `fit` calls it next

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.restore()

    def restore(self) -> None:
        """Restores the layers' original policies. Call it after an interrupted `fit`."""
        if self._original_policies:
            self._set(self._original_policies)
            self._original_policies = []

    def _set(self, policies):
        for layer, policy in zip(self.model._flatten_layers(), policies, strict=True):
            layer.dtype_policy = policy
            if isinstance(layer, keras.layers.ReversibleEmbedding):
                layer.reverse_dtype = layer.compute_dtype
        for name, function in self._other_functions.items():
            self._other_functions[name] = getattr(self.model, name)
            setattr(self.model, name, function)
