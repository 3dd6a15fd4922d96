"""Named sizes of the Transformer, and what every builder makes of them."""

from typing import Any, NamedTuple

from keras_attention.layers import AlibiBias, RelativePositionBias, RotaryEmbedding
from keras_attention.layers.embedding import POSITIONS as ADDED
from keras_attention.layers.positions import PositionEncoding

IN_ATTENTION = ("rotary", "relative", "alibi")


class Size(NamedTuple):
    """A row of the table of sizes."""

    num_layers: int
    hidden_dim: int
    intermediate_dim: int
    num_heads: int
    dropout: float


SIZES = {
    # Wu et al. 2021, section 4.2
    "tiny": Size(num_layers=4, hidden_dim=128, intermediate_dim=256, num_heads=4, dropout=0.3),
    "small": Size(num_layers=6, hidden_dim=512, intermediate_dim=1024, num_heads=4, dropout=0.3),
    # Vaswani et al. 2017, table 3
    "base": Size(num_layers=6, hidden_dim=512, intermediate_dim=2048, num_heads=8, dropout=0.1),
    "big": Size(num_layers=6, hidden_dim=1024, intermediate_dim=4096, num_heads=16, dropout=0.3),
}


def size_of(name: str, **others: Any) -> Size:
    """The size of that name, with what is not `None` in place of what the table says.

    Raises:
        ValueError: if there is no such size.

    >>> size_of("tiny", num_layers=2, hidden_dim=None).num_layers
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
        "embedding_dim": size.hidden_dim,
        "scale": True,
        "positions": positions if positions in ADDED else None,
        "max_length": max_length,
        "dropout": size.dropout,
    }


def block_options(size: Size, positions: str | None, **block: Any) -> dict:
    """Returns the arguments of `layers.make_blocks` for this size."""
    return {
        "num_layers": size.num_layers,
        "num_heads": size.num_heads,
        "intermediate_dim": size.intermediate_dim,
        "dropout": size.dropout,
        "positions": _block_positions(positions, size.num_heads),
        **block,
    }


def shared_position_bias(
    size: Size, positions: str | None, causal: bool = False
) -> RelativePositionBias | None:
    """Returns the position bias that all blocks of a stack share, or `None`."""
    if positions != "relative":
        return None
    return RelativePositionBias(size.num_heads, bidirectional=not causal)


def _block_positions(positions: str | None, num_heads: int) -> PositionEncoding | None:
    if positions == "rotary":
        return RotaryEmbedding()
    if positions == "alibi":
        return AlibiBias(num_heads)
    return None
