"""Numbers that differ by exit: what is rounded, and how far from the model's an answer may be."""

from typing import NamedTuple

from keras_attention.ops.masks import MASK_VALUE

SCORE_TOLERANCE = 1e-4  # relative to the score, or absolute below 1
ATTENTION_TOLERANCE = 1e-3
MOST_LOST = 1.0  # of 100 points of a score on a task


class Numerics(NamedTuple):
    """The numbers of one kind of export.

    Attributes:
        rounded: whether they are not the model's: it is then proven by a score on a task, which may
            be `MOST_LOST` below the model's, and not by `SCORE_TOLERANCE`.
        lowest: what stands for a masked score.
        signatures: how far two signatures of one file may be apart, relative.
    """

    rounded: bool
    mask_value: float = MASK_VALUE
    signatures: float = SCORE_TOLERANCE


WEIGHTS = {
    # The model's own numbers; sums go in another order. A SavedModel has them, too.
    "float32": Numerics(rounded=False),
    # Weights have 11 bits; they are widened and computed with in float32.
    "float16": Numerics(rounded=True),
    # Weights have 8 bits, a scale for each matrix. Each row of activations gets its own scale when
    # it comes, so a row does not depend on its batch. The rest, masked scores too, is float32.
    "int8": Numerics(rounded=True, signatures=1e-2),
    # As int8, with 4 bits and a scale for each row of a matrix.
    "int4": Numerics(rounded=True, signatures=1e-2),
    # All tensors have 8 bits: 256 numbers from the least to the greatest that was seen. With -1e9
    # among them all scores that are kept would be one number; e^-30 is nothing to a softmax, too.
    "full_int8": Numerics(rounded=True, mask_value=-30.0, signatures=1e-2),
}
