"""Tolerances of the comparison of an export with its model, by the precision of the weights."""

from typing import NamedTuple

from keras_attention.ops.masks import MASK_VALUE

SCORE_TOLERANCE = 1e-4  # relative to the score, absolute for scores below 1
ATTENTION_TOLERANCE = 1e-3
MOST_LOST = 1.0  # points out of 100 of a quality score


class Numerics(NamedTuple):
    """Numerics of an export with one precision of weights.

    Attributes:
        rounded: True for reduced precision. The outputs then differ from the model's, so that the
            export is verified by its quality on samples, which may be `MOST_LOST` below the
            model's, instead of by `SCORE_TOLERANCE`.
        mask_value: score assigned to masked positions before the softmax.
        signatures: relative tolerance between the outputs of two signatures of one file.
    """

    rounded: bool
    mask_value: float = MASK_VALUE
    signatures: float = SCORE_TOLERANCE


WEIGHTS = {
    # The model's weights, also those of a SavedModel. Only the order of additions differs.
    "float32": Numerics(rounded=False),
    # Weights in float16, converted to float32 for each operation.
    "float16": Numerics(rounded=True),
    # Weights in 8 bits with one scale for each matrix. The activations of dense layers are
    # quantized when the file runs, with a scale for each row, so that a row does not depend on its
    # batch. All other operations, such as masks and softmax, use float32.
    "int8": Numerics(rounded=True, signatures=1e-2),
    # As int8, with 4 bits and a scale for each row of a matrix.
    "int4": Numerics(rounded=True, signatures=1e-2),
    # All tensors in 8 bits, that is 256 values between the smallest and the largest that occurred
    # in the samples. A mask value of -1e9 would round all other scores to one value. With -30 the
    # masked weights are still negligible: e^-30 is 1e-13.
    "full_int8": Numerics(rounded=True, mask_value=-30.0, signatures=1e-2),
}
