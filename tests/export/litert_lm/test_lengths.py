"""Static lengths of a LiteRT-LM file."""

import pytest

from keras_attention.export.litert_lm.lengths import Lengths, choose_lengths, split_prompt

pytestmark = pytest.mark.tensorflow_only


def test_defaults_hold_the_longest_prompt_and_continuation():
    assert choose_lengths(7, 5) == Lengths((8,), 13)
    assert choose_lengths(40, 24) == Lengths((8, 48), 65)
    assert choose_lengths(127, 64) == Lengths((8, 32, 128), 192)


def test_slots_are_no_prime():
    """LiteRT-LM fails with 37 slots."""
    assert choose_lengths(7, 29).max_tokens == 37 and choose_lengths(7, 29).slots == 40


def test_other_lengths():
    assert choose_lengths(40, 24, [16, 4], 80) == Lengths((4, 16), 80)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "`prefill_lengths` must be different positive"),
        (([0, 4],), "`prefill_lengths` must be different positive"),
        (([4, 4],), "`prefill_lengths` must be different positive"),
        ((None, 64), "`cache_length` must be at least 65, for prompts of 40 .*cache_length=64"),
        (([4, 11],), "no primes above 10"),
        (([39],), "into at most 72, `cache_length` rounded up, padding included.*which need 78"),
    ],
)
def test_lengths_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        choose_lengths(40, 24, *arguments)


@pytest.mark.parametrize(
    ("num_tokens", "chunks"),
    [(0, []), (1, [4]), (4, [4]), (5, [12]), (12, [12]), (16, [12, 4]), (29, [12, 12, 12])],
)
def test_prompts_are_split_as_by_the_runtime(num_tokens, chunks):
    """The longest while it is filled, then the shortest for the rest."""
    assert split_prompt(num_tokens, (4, 12)) == chunks
