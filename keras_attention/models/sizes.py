"""Named sizes of the Transformer, and what every builder makes of them."""

from typing import Any, NamedTuple

from keras_attention.layers import ALiBiPositions, RelativePositions, RotaryPositions
from keras_attention.layers.embedding import POSITIONS as ADDED
from keras_attention.layers.positions import Positions

IN_ATTENTION = ("rotary", "relative", "alibi")


class Size(NamedTuple):
    """A row of the table of sizes."""

    num_layers: int
    dim: int
    ff_dim: int
    num_heads: int
    dropout: float


SIZES = {
    # Wu et al. 2021, section 4.2
    "tiny": Size(num_layers=4, dim=128, ff_dim=256, num_heads=4, dropout=0.3),
    "small": Size(num_layers=6, dim=512, ff_dim=1024, num_heads=4, dropout=0.3),
    # Vaswani et al. 2017, table 3
    "base": Size(num_layers=6, dim=512, ff_dim=2048, num_heads=8, dropout=0.1),
    "big": Size(num_layers=6, dim=1024, ff_dim=4096, num_heads=16, dropout=0.3),
}


def size_of(name: str, **others: Any) -> Size:
    """The size of that name, with what is not `None` in place of what the table says.

    Raises:
        ValueError: if there is no such size.

    >>> size_of("tiny", num_layers=2, dim=None).num_layers
    2
    """
    if name not in SIZES:
        raise ValueError(f"size: expected one of {sorted(SIZES)}. Received: size={name!r}")
    return SIZES[name]._replace(**{key: x for key, x in others.items() if x is not None})


def embedding_options(size: Size, positions: str | None, max_length: int) -> dict:
    """What a `TokenEmbedding` of this size takes."""
    if positions not in (*ADDED, *IN_ATTENTION):
        raise ValueError(
            f"positions: expected one of {(*ADDED, *IN_ATTENTION)}. "
            f"Received: positions={positions!r}"
        )
    return {
        "dim": size.dim,
        "scale": True,
        "positions": positions if positions in ADDED else None,
        "max_length": max_length,
        "dropout": size.dropout,
    }


def block_options(size: Size, positions: str | None, causal: bool = False, **block: Any) -> dict:
    """What a block of this size takes."""
    return {
        "num_heads": size.num_heads,
        "ff_dim": size.ff_dim,
        "dropout": size.dropout,
        "positions": _scheme(positions, size.num_heads, causal),
        **block,
    }


def _scheme(positions: str | None, num_heads: int, causal: bool) -> Positions | None:
    if positions == "rotary":
        return RotaryPositions()
    if positions == "relative":
        return RelativePositions(num_heads, bidirectional=not causal)
    if positions == "alibi":
        return ALiBiPositions(num_heads)
    return None
