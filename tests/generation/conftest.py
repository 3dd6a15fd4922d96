import pytest

from keras_attention.generation import decoding_loop
from keras_attention.ops.loop import while_loop


@pytest.fixture
def steps(monkeypatch) -> list[int]:
    """Number of steps of each run of the loop, in order."""
    counts = []

    def counting_while_loop(*arguments):
        carry = while_loop(*arguments)
        counts.append(int(carry[0]))
        return carry

    monkeypatch.setattr(decoding_loop, "while_loop", counting_while_loop)
    return counts
