"""Multi-head attention of a sequence over itself."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.multi_head import MultiHeadAttention
from keras_attention.layers.validation import check_query, check_values
from keras_attention.ops import heads, masks


@keras.saving.register_keras_serializable(package="keras_attention")
class MultiHeadSelfAttention(MultiHeadAttention):
    """Multi-head attention of a sequence over itself: one fused projection makes all three.

    Args:
        num_heads, key_dim, ...: as `MultiHeadAttention` has them.

    Call arguments:
        x: (B, T, Q).
        mask: Bool (B, T), True is kept; the Keras mask of `x` where it is `None`. What is not kept
            is not looked at.
        attention_mask: Bool (B, T, T), or of a shape that broadcasts to it.
        return_attention_scores: Return the pair `(output, scores)`.
        training: Whether there is dropout.
        use_causal_mask: Each position sees itself and what stands before it.

    Returns:
        The output (B, T, output_dim), or the pair of it and the scores (B, H, T, T).

    Example:

    >>> import numpy as np
    >>> layer = MultiHeadSelfAttention(num_heads=2, key_dim=8)
    >>> tuple(layer(np.ones((2, 3, 16), "float32"), use_causal_mask=True).shape)
    (2, 3, 16)
    """

    def build(self, x_shape):
        expand_key_mask = self.num_key_value_heads * self.key_dim
        of_values = self.num_key_value_heads * self.value_dim
        # where the query's features end, and the keys'
        self.ends = self.num_heads * self.key_dim, self.num_heads * self.key_dim + expand_key_mask
        units = self.ends[1] + of_values
        self.fused_dense = self.projection("query_key_value", units, x_shape, self.use_bias)
        self.build_rest(x_shape)

    def project(self, x):
        query, keys, values = ops.split(self.fused_dense(x), self.ends, axis=-1)
        return (
            self._normed("query_norm", heads.split_heads(query, self.num_heads)),
            self._normed("key_norm", heads.split_heads(keys, self.num_key_value_heads)),
            heads.split_heads(values, self.num_key_value_heads),
        )

    def project_query(self, query):
        return self.project(query)[0]

    def project_keys(self, keys):
        return self.project(keys)[1]

    def project_values(self, values):
        return self.project(values)[2]

    def call(  # type: ignore[override]  # one sequence in place of query and value
        self,
        x: Any,
        mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ):
        mask = mask_of_self(x, mask, attention_mask, use_causal_mask)
        output, _, scores = self.attend_to_self(x, mask, training=bool(training))
        return (output, scores) if return_attention_scores else output

    def compute_output_shape(self, x_shape, value_shape=None, key_shape=None):
        return super().compute_output_shape(x_shape, x_shape)

    def compute_output_spec(self, x, mask=None, attention_mask=None, **options):
        return super().compute_output_spec(
            x, x, value_mask=mask, attention_mask=attention_mask, **options
        )


def mask_of_self(x: Any, mask: Any, attention_mask: Any, causal: bool):
    """What each position of a sequence sees of it, bool (B or 1, T or 1, T), or `None`."""
    check_values(x, None, mask)
    check_query(x, x, attention_mask, "attention_mask")
    if mask is None:  # Keras fills it in only where `x` is the one tensor of a call
        mask = getattr(x, "_keras_mask", None)
    length = ops.shape(x)[1]
    return masks.combine_masks(
        masks.expand_key_mask(mask),
        masks.expand_to_3d(attention_mask),
        masks.causal_mask(length, length) if causal else None,
    )
