"""Tolerances of the comparison of an export with its model, by the precision of the weights."""

from typing import NamedTuple

from keras_attention.ops.masks import MASK_VALUE

SCORE_TOLERANCE = 1e-4  # relative to the score, absolute for scores below 1
ATTENTION_TOLERANCE = 1e-3
MAX_QUALITY_LOSS = 1.0  # points out of 100


class Precision(NamedTuple):
    """Precision of the weights of an export.

    Attributes:
        is_reduced: True if the outputs differ from the model's. The export is then verified by its
            quality on samples, which may be `MAX_QUALITY_LOSS` below the model's, instead of by
            `SCORE_TOLERANCE`.
        mask_value: score assigned to masked positions before the softmax.
        signature_tolerance: relative tolerance between the outputs of two signatures of one file.
        has_integer_activations: whether activations are integers, with ranges that occurred in the
            samples.
    """

    is_reduced: bool
    mask_value: float = MASK_VALUE
    signature_tolerance: float = SCORE_TOLERANCE
    has_integer_activations: bool = False


PRECISIONS = {
    # The model's weights, also those of a SavedModel. Only the order of additions differs.
    "float32": Precision(is_reduced=False),
    # Weights in float16, converted to float32 for each operation.
    "float16": Precision(is_reduced=True),
    # Weights in 8 bits with one scale for each matrix. The activations of dense layers are
    # quantized when the file runs, with a scale for each row, so that a row does not depend on its
    # batch. All other operations, such as masks and softmax, use float32.
    "int8": Precision(is_reduced=True, signature_tolerance=1e-2),
    # As int8, with 4 bits and a scale for each row of a matrix.
    "int4": Precision(is_reduced=True, signature_tolerance=1e-2),
    # All tensors in 8 bits, that is 256 values between the smallest and the largest that occurred
    # in the samples. A mask value of -1e9 would round all other scores to one value. With -30 the
    # masked weights are still negligible: e^-30 is 1e-13.
    "full_int8": Precision(
        is_reduced=True,
        mask_value=-30.0,
        signature_tolerance=1e-2,
        has_integer_activations=True,
    ),
    # As full_int8, with activations in 16 bits and a scale for each row of a matrix.
    "full_int16": Precision(
        is_reduced=True,
        mask_value=-30.0,
        signature_tolerance=1e-2,
        has_integer_activations=True,
    ),
}
