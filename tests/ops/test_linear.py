"""Matrix products over sequences."""

import numpy as np
import pytest

from helpers import array
from keras_attention.ops.linear import project, project_transposed


@pytest.mark.parametrize("batch, time", [(2, 3), (1, 1), (0, 3), (2, 0)])
def test_project_multiplies_every_position(batch, time):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(batch, time, 4)), rng.normal(size=(4, 5))
    result = array(project(x.astype("float32"), kernel.astype("float32")))
    expected = np.zeros((batch, time, 5))
    for b, t in np.ndindex(batch, time):
        expected[b, t] = kernel.T @ x[b, t]
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)
    transposed = array(project_transposed(x.astype("float32"), kernel.T.astype("float32")))
    np.testing.assert_allclose(transposed, expected, rtol=1e-4, atol=1e-6)
