"""Memory that generation with a strategy needs; tests/tasks checks the limits."""

import pytest

from keras_attention.generation import BeamSearch
from keras_attention.models import causal_lm
from keras_attention.models.saved_strategy import estimate_cache_bytes


@pytest.mark.parametrize(("window", "slots"), [(None, 70), (100, 70), (3, 3)])
def test_a_window_limits_the_estimated_caches(window, slots):
    model = causal_lm(
        13, num_layers=2, hidden_dim=8, intermediate_dim=12, num_heads=2, window=window
    )
    strategy = BeamSearch(3, max_new_tokens=70)
    per_beam = 2 * (2 * 4 * 8) * slots + 8 * 70 + 8 * 13  # keys and values of two layers of 8
    assert estimate_cache_bytes(strategy, model.decoder) == 3 * per_beam
