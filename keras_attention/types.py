"""Types that signatures share, and the protocols that the parts of a model follow."""

from typing import Any, Protocol, TypeAlias

# A tensor of any backend, a NumPy array, or a KerasTensor.
Tensor: TypeAlias = Any
# A bool tensor, True where an item takes part; `None` masks nothing.
Mask: TypeAlias = Any | None


class Decoder(Protocol):
    """Contract between a decoder and the strategies that generate with it.

    Beams are queries: `step` always has a beam axis (of length 1 in greedy search), constants have
    none and are never repeated for each beam, and every leaf of the state is `(batch, beams, ...)`,
    so that reordering beams is one gather. Stepping gives the same logits as `call`.
    """

    @property
    def vocabulary_size(self) -> int:
        """Number of target ids."""
        ...

    def call(self, target_ids: Tensor, encoded: dict, encoded_mask: Mask = None) -> Tensor:
        """Returns the logits of all steps at once, for teacher forcing.

        Args:
            target_ids: integer tensor (batch, time).
            encoded: the encoder's outputs.
            encoded_mask: bool tensor (batch, source).

        Returns:
            Logits (batch, time, vocabulary_size).
        """
        ...

    def start(
        self,
        encoded: dict,
        encoded_mask: Mask = None,
        num_beams: int = 1,
        max_length: int | None = None,
    ) -> tuple[dict, dict]:
        """Prepares generation.

        Args:
            encoded: the encoder's outputs.
            encoded_mask: bool tensor (batch, source).
            num_beams: hypotheses per sequence.
            max_length: maximum number of steps.

        Returns:
            `(constants, state)`: what all steps and beams share, and the state before the first
            step, each leaf `(batch, beams, ...)`.
        """
        ...

    def step(
        self,
        ids: Tensor,
        position: Tensor,
        state: dict,
        constants: dict,
        return_weights: bool = False,
    ) -> tuple[Tensor, dict, Tensor | None]:
        """Computes one step of every beam.

        Args:
            ids: integer tensor (batch, beams), the last token of each beam.
            position: integer scalar, the number of tokens before it.
            state: from `start` or the previous step.
            constants: from `start`.
            return_weights: whether to return the attention weights.

        Returns:
            `(logits, state, weights)`: logits (batch, beams, vocabulary_size), the next state, and
            attention weights (batch, beams, source), or `None` unless `return_weights`.
        """
        ...
