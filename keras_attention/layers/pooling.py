"""Pooling of a sequence to one vector, and the heads of classifiers and taggers."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.build import build_if_needed
from keras_attention.layers.linear import Linear
from keras_attention.ops import masks, scores
from keras_attention.ops.attention import context, masked_softmax
from keras_attention.ops.dtypes import at_least_float32
from keras_attention.types import Mask, Tensor
from keras_attention.utils.validation import check_one_of, check_positive

POOLINGS = ("mean", "first", "attention")


@keras.saving.register_keras_serializable(package="keras_attention")
class Pooling(keras.layers.Layer):
    """Weighted sum over a sequence, `sum_s a_s h_s`; padding has weight 0.

    | `kind` | weights | reference |
    | --- | --- | --- |
    | `"mean"` | `1 / n` for n items | |
    | `"first"` | 1 at the first item, such as the `[CLS]` of BERT | Devlin et al. 2019 |
    | `"attention"` | `softmax(v . tanh(W h_s + b))` | Yang et al. 2016, equations 5 to 7 |

    Args:
        kind: `"mean"`, `"first"` or `"attention"`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        x: (B, S, D).
        mask: bool (B, S), True where an item takes part.

    Returns:
        (B, D); 0 for a fully masked row.

    Raises:
        ValueError: If the kind is unknown.

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
        check_one_of("kind", kind, POOLINGS)
        self.kind = kind
        self.supports_masking = True

    def build(self, x_shape):
        if self.kind == "attention":
            width = x_shape[-1]
            self.dense = Linear(width, width, dtype=self.dtype_policy)
            self.v = self.add_weight(shape=(width,), initializer="glorot_uniform", name="v")
        self.built = True

    def compute_weights(self, x: Tensor, mask: Mask = None) -> Tensor:
        """Computes the weight of each item, (B, S, D) -> (B, S), in float32 or float64."""
        if mask is None:
            mask = ops.ones(ops.shape(x)[:2], "bool")
        if self.kind == "attention":
            # The additive score without a query: v . tanh(W h_s + b).
            keys = self.dense(x)  # W h_s + b, (B, S, D)
            query = ops.zeros((1, 1, keys.shape[-1]), keys.dtype)
            result = scores.additive(query, keys, self.v)  # (B, 1, S)
            return masked_softmax(at_least_float32(ops.squeeze(result, 1)), mask)
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        counted = ops.cast(masks.first_mask(mask) if self.kind == "first" else mask, dtype)
        return counted / ops.maximum(ops.sum(counted, axis=-1, keepdims=True), 1.0)

    def call(self, x: Tensor, mask: Mask = None) -> Tensor:
        weights = ops.cast(ops.expand_dims(self.compute_weights(x, mask), 1), x.dtype)  # (B, 1, S)
        return ops.squeeze(context(weights, x), 1)  # (B, D)

    def compute_mask(self, x, mask=None):
        return None  # a vector has no mask

    def compute_output_shape(self, x_shape):
        return (x_shape[0], x_shape[-1])

    def get_config(self) -> dict:
        return {**super().get_config(), "kind": self.kind}


class _Head(keras.layers.Layer):
    """Dropout and a dense layer, the last part of both heads."""

    def __init__(self, num_classes: int, dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("num_classes", num_classes)
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.dense = keras.layers.Dense(num_classes, name="logits", dtype=self.dtype_policy)
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
    """Classification head: pooling, dropout and a dense layer.

    Args:
        num_classes: number of classes.
        pooling: the `kind` of `Pooling`.
        dropout: dropout rate on the pooled vector.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        x: (B, S, D).
        mask: bool (B, S).
        training: whether dropout is applied.

    Returns:
        Logits (B, num_classes).

    Raises:
        ValueError: If `num_classes` is not positive or the pooling is unknown.

    Example:

    >>> import numpy as np
    >>> tuple(ClassifierHead(3)(np.ones((2, 5, 8), "float32")).shape)
    (2, 3)
    """

    def __init__(
        self, num_classes: int, pooling: str = "mean", dropout: float = 0.0, **kwargs: Any
    ):
        super().__init__(num_classes, dropout, **kwargs)
        check_one_of("pooling", pooling, POOLINGS)
        self.pooling = Pooling(pooling, name="pooling", dtype=self.dtype_policy)

    def build(self, x_shape):
        build_if_needed(self.pooling, x_shape)
        super().build(x_shape)

    def compute_output_shape(self, x_shape):
        return (x_shape[0], self.dense.units)

    def call(self, x: Tensor, mask: Mask = None, training: bool | None = None) -> Tensor:
        pooled = self.pooling(x, mask=mask)  # (B, D)
        return self.dense(self.dropout(pooled, training=training))  # (B, num_classes)

    def get_config(self) -> dict:
        return {**super().get_config(), "pooling": self.pooling.kind}


@keras.saving.register_keras_serializable(package="keras_attention")
class TaggerHead(_Head):
    """Tagging head: dropout and a dense layer at every position.

    Args:
        num_classes: number of tags.
        dropout: dropout rate on the sequence.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        x: (B, S, D).
        mask: bool (B, S), ignored: padding has logits too, which are to be discarded.
        training: whether dropout is applied.

    Returns:
        Logits (B, S, num_classes).

    Example:

    >>> import numpy as np
    >>> tuple(TaggerHead(3)(np.ones((2, 5, 8), "float32")).shape)
    (2, 5, 3)
    """

    def __init__(self, num_classes: int, dropout: float = 0.0, **kwargs: Any):
        super().__init__(num_classes, dropout, **kwargs)

    def compute_output_shape(self, x_shape):
        return (*x_shape[:-1], self.dense.units)

    def call(self, x: Tensor, mask: Mask = None, training: bool | None = None) -> Tensor:
        return self.dense(self.dropout(x, training=training))  # (B, S, num_classes)
