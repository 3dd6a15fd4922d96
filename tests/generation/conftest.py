import pytest

from keras_attention.generation import strategy
from keras_attention.ops.loop import while_loop


@pytest.fixture
def steps(monkeypatch) -> list[int]:
    """How many steps each search took, as the loop itself counts them on every backend."""
    taken = []

    def counting(*arguments):
        carry = while_loop(*arguments)
        taken.append(int(carry[0]))
        return carry

    monkeypatch.setattr(strategy, "while_loop", counting)
    return taken
