"""Rows that have ended leave the batch when caches grow."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers import array
from keras_attention.generation import BeamSearch, GreedySearch, Sampling
from keras_attention.generation.decoding_loop import run_growing

V, LIMIT = 9, 70
FIRST_ID = 3  # of the first row
LENGTHS = [3, 70, 20, 16, 33]


def generate(strategy, lengths):
    """Generates ids that say which row they are of; attention is the number of rows of the step."""

    def bind_step(constants):
        def step(ids, position, state):
            batch = ops.shape(ids)[0]
            logits = ops.one_hot(constants["ids"], V) * 6.0  # (A, 1, V)
            logits = ops.broadcast_to(logits, (batch, strategy.num_beams, V))
            weights = ops.ones((batch, strategy.num_beams, 1)) * ops.cast(batch, "float32")
            return logits, state, weights

        return step

    batch = len(lengths)
    ids = ops.reshape(ops.arange(batch, dtype="int32") + FIRST_ID, (batch, 1))
    source_mask = ops.ones((batch, 1), "bool")
    state = {"rows": ops.zeros((batch, strategy.num_beams))}
    return run_growing(
        strategy,
        bind_step,
        grow=lambda state, constants, length: state,
        constants={"ids": ids, "shared": ops.zeros((1, 4)), "nothing": None},
        carry=strategy.initial_carry(state, source_mask, return_attention=True, length=0),
        source_mask=source_mask,
        options={"max_new_tokens": np.array(lengths, "int32")},
    )


def expected_rows(lengths):
    """Number of rows in the batch at each step."""
    if keras.backend.backend() == "jax":
        return [len(lengths)] * LIMIT
    starts = [16 * (step // 16) for step in range(LIMIT)]  # of the stage
    return [sum(length > start for length in lengths) for start in starts]


@pytest.mark.parametrize(
    "strategy", [GreedySearch(LIMIT), Sampling(temperature=0.0, max_new_tokens=LIMIT)]
)
def test_rows_leave_the_batch_at_the_next_stage(strategy):
    outputs = {name: array(x) for name, x in generate(strategy, LENGTHS).items()}
    for row, length in enumerate(LENGTHS):
        ids, rows = outputs["ids"][row, 0], outputs["attention"][row, 0, :, 0]
        assert ids.tolist() == [row + FIRST_ID] * length + [0] * (LIMIT - length)
        expected = [float(n) for n in expected_rows(LENGTHS)[:length]]
        assert rows.tolist() == expected + [0.0] * (LIMIT - length)
    log_prob = 6.0 - np.log(np.exp(6.0) + V - 1)
    np.testing.assert_allclose(outputs["scores"][:, 0], np.array(LENGTHS) * log_prob, rtol=2e-5)


def test_beam_search_returns_the_rows_in_order():
    strategy = BeamSearch(3, num_return_sequences=2, max_new_tokens=LIMIT)
    outputs = {name: array(x) for name, x in generate(strategy, LENGTHS).items()}
    assert outputs["ids"].shape == (5, 2, LIMIT)
    for row, length in enumerate(LENGTHS):
        ids = outputs["ids"][row, 0]
        assert ids.tolist() == [row + FIRST_ID] * length + [0] * (LIMIT - length)
    alone = [array(generate(strategy, [length])["scores"])[0] for length in LENGTHS]
    np.testing.assert_allclose(outputs["scores"], alone, rtol=2e-5)


@pytest.mark.parametrize("lengths", [[70], [70, 70], [1, 1], [16, 16, 17]])
def test_all_rows_end_together_or_one_is_left(lengths):
    ids = array(generate(GreedySearch(LIMIT), lengths)["ids"])
    assert (ids != 0).sum(-1)[:, 0].tolist() == lengths
