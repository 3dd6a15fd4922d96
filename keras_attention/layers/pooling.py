"""One vector for a whole sequence, and the two heads that read an encoder."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.build import build_if_needed
from keras_attention.layers.linear import Linear
from keras_attention.layers.validation import check_positive
from keras_attention.ops import masks
from keras_attention.ops.attention import context, masked_softmax

POOLINGS = ("mean", "first", "attention")


@keras.saving.register_keras_serializable(package="keras_attention")
class Pooling(keras.layers.Layer):
    """A weighted sum over a sequence, `sum_s a_s h_s`; padding has weight 0.

    | `kind` | weights | from |
    | --- | --- | --- |
    | `"mean"` | `1 / n` for n items | |
    | `"first"` | 1 for the first item, for texts that begin with START | Devlin et al. 2019 |
    | `"attention"` | `softmax(v . tanh(W h_s + b))` | Yang et al. 2016, equations 5 to 7 |

    Args:
        kind: see the table.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Call arguments:
        x: (B, S, D).
        mask: Bool (B, S), or `None`, which keeps everything.

    Returns:
        (B, D); 0 where nothing is kept.

    Raises:
        ValueError: if the kind is unknown.

    References:
        Yang et al. 2016, [Hierarchical Attention Networks](https://aclanthology.org/N16-1174).

    Example:

    >>> import numpy as np
    >>> x, mask = np.array([[[1.0], [3.0], [9.0]]]), np.array([[True, True, False]])
    >>> float(Pooling("mean")(x, mask=mask)[0, 0])
    2.0
    """

    def __init__(self, kind: str = "mean", **kwargs: Any):
        super().__init__(**kwargs)
        if kind not in POOLINGS:
            raise ValueError(f"pooling: expected one of {POOLINGS}. Received: pooling={kind!r}")
        self.kind = kind
        self.supports_masking = True

    def build(self, x_shape):
        if self.kind == "attention":
            width = x_shape[-1]
            self.dense = Linear(width, width, activation="tanh", dtype=self.dtype_policy)
            self.v = self.add_weight(shape=(width,), initializer="glorot_uniform", name="v")
        self.built = True

    def weights_of(self, x: Any, mask: Any = None):
        """How much each item counts: (B, S, D) -> (B, S), in float32."""
        if mask is None:
            mask = ops.ones(ops.shape(x)[:2], "bool")
        if self.kind == "attention":
            energies = ops.cast(ops.sum(self.dense(x) * self.v, axis=-1), "float32")  # (B, S)
            return masked_softmax(energies, mask)
        kept = ops.cast(masks.first_mask(mask) if self.kind == "first" else mask, "float32")
        return kept / ops.maximum(ops.sum(kept, axis=-1, keepdims=True), 1.0)

    def call(self, x, mask=None):
        weights = ops.cast(ops.expand_dims(self.weights_of(x, mask), 1), x.dtype)  # (B, 1, S)
        return ops.squeeze(context(weights, x), 1)  # (B, D)

    def compute_mask(self, x, mask=None):
        return None  # a vector has no mask

    def compute_output_shape(self, x_shape):
        return (x_shape[0], x_shape[-1])

    def get_config(self) -> dict:
        return {**super().get_config(), "kind": self.kind}


class _Head(keras.layers.Layer):
    """Dropout and a dense layer: what both heads end with."""

    def __init__(self, units: int, dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("num_classes", units)
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.dense = keras.layers.Dense(units, name="logits", dtype=self.dtype_policy)
        self.supports_masking = True

    def build(self, x_shape):
        build_if_needed(self.dense, (None, x_shape[-1]))
        self.built = True

    def compute_mask(self, x, mask=None):
        return None  # the loss is masked by its sample weights

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_classes": self.dense.units,
            "dropout": self.dropout.rate,
        }


@keras.saving.register_keras_serializable(package="keras_attention")
class ClassifierHead(_Head):
    """A sequence to the logits of its classes: pooling, dropout, a dense layer.

    Args:
        num_classes: how many.
        pooling: as `Pooling` names it.
        dropout: rate on the pooled vector.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Call arguments:
        x: (B, S, D).
        mask: Bool (B, S).
        training: whether there is dropout.

    Returns:
        Logits (B, classes).

    Example:

    >>> import numpy as np
    >>> tuple(ClassifierHead(3)(np.ones((2, 5, 8), "float32")).shape)
    (2, 3)
    """

    def __init__(
        self, num_classes: int, pooling: str = "mean", dropout: float = 0.0, **kwargs: Any
    ):
        super().__init__(num_classes, dropout, **kwargs)
        self.pooling = Pooling(pooling, name="pooling", dtype=self.dtype_policy)

    def build(self, x_shape):
        build_if_needed(self.pooling, x_shape)
        super().build(x_shape)

    def call(self, x, mask=None, training=None):
        pooled = self.pooling(x, mask=mask)  # (B, D)
        return self.dense(self.dropout(pooled, training=training))

    def get_config(self) -> dict:
        return {**super().get_config(), "pooling": self.pooling.kind}


@keras.saving.register_keras_serializable(package="keras_attention")
class TaggerHead(_Head):
    """Every item of a sequence to the logits of its tags: dropout, a dense layer.

    Args:
        num_classes: how many tags.
        dropout: rate on the sequence.
        **kwargs: `name`, `dtype` and so on, as every Keras layer has them.

    Call arguments:
        x: (B, S, D).
        mask: Bool (B, S), not read: logits of padding are there too, and mean nothing.
        training: whether there is dropout.

    Returns:
        Logits (B, S, classes).

    Example:

    >>> import numpy as np
    >>> tuple(TaggerHead(3)(np.ones((2, 5, 8), "float32")).shape)
    (2, 5, 3)
    """

    def __init__(self, num_classes: int, dropout: float = 0.0, **kwargs: Any):
        super().__init__(num_classes, dropout, **kwargs)

    def call(self, x, mask=None, training=None):
        return self.dense(self.dropout(x, training=training))
