"""The weights of a Marian folder, and their places in our model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from keras_attention.utils.optional_imports import require_extra

require_extra("text", "keras_attention.interop.marian")

import safetensors
from safetensors.numpy import load_file

from keras_attention.interop.attention import load_parts
from keras_attention.interop.torch_file import load_torch_file
from keras_attention.layers import DecoderBlock, TokenEmbedding
from keras_attention.models import EncoderDecoder
from keras_attention.ops.ids import START

WEIGHTS, OLDER_WEIGHTS = "model.safetensors", "pytorch_model.bin"
# Taken from a logit, it leaves no share to its token, and label smoothing's mean stays sensible.
FAR = 100.0


class Weights:
    """The arrays of `model.safetensors`, or of the older `pytorch_model.bin`.

    Raises:
        ValueError: if there is no such file, it is damaged, lacks an array, or has one of another
            shape than `config.json` tells.
    """

    def __init__(self, folder: Path):
        self.path = folder / WEIGHTS
        try:
            if self.path.is_file():
                self.arrays = load_file(self.path)
                return
        except safetensors.SafetensorError as error:
            raise ValueError(
                f"Expected a file of safetensors. Received: {str(self.path)!r}, {error}"
            ) from None
        self.path = folder / OLDER_WEIGHTS
        if not self.path.is_file():
            raise ValueError(
                f"Expected {WEIGHTS} or {OLDER_WEIGHTS} in the folder. "
                f"Received: {str(folder)!r} without them"
            )
        self.arrays = load_torch_file(self.path)

    def take(self, *shape: int, names: Sequence[str]) -> np.ndarray:
        """The first of these that is there."""
        for name in names:
            if name in self.arrays:
                if self.arrays[name].shape != shape:
                    raise ValueError(
                        f"{name}: expected the shape {shape} that config.json tells. "
                        f"Received: shape {self.arrays[name].shape} in {str(self.path)!r}"
                    )
                return self.arrays[name].astype("float32")
        raise ValueError(
            f"{names[0]}: expected among the weights. "
            f"Received: {str(self.path)!r} with {len(self.arrays)} others"
        )

    def linear(self, name: str, inputs: int, outputs: int) -> tuple:
        """Kernel (inputs, outputs) and bias (outputs,)."""
        kernel = self.take(outputs, inputs, names=[f"{name}.weight"])
        return kernel.T, self.take(outputs, names=[f"{name}.bias"])

    def attention(self, name: str, width: int) -> dict[str, tuple]:
        """Kernel and bias of each part, as `load_parts` takes them."""
        theirs = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}
        return {
            part: self.linear(f"{name}.{their}", width, width) for part, their in theirs.items()
        }

    def norm(self, name: str, width: int) -> tuple:
        """Scale and offset."""
        return tuple(self.take(width, names=[f"{name}.{kind}"]) for kind in ("weight", "bias"))


def load(
    model: EncoderDecoder, weights: Weights, source_rows: np.ndarray, target_rows: np.ndarray
) -> None:
    """Gives a model the weights of the files.

    Args:
        model: as the folder's `config.json` describes it.
        weights: of the folder.
        source_rows: for each of our source ids the row of the files' tables.
        target_rows: for each of our target ids.
    """
    source, target = model.encoder.embedding, model.decoder.embedding
    names = ["model.decoder.embed_tokens.weight"]
    if target.output_kind == "tied":
        names.append("lm_head.weight")
    if source is target:
        names += ["model.shared.weight", "model.encoder.embed_tokens.weight"]
    else:
        load_table(source, weights, ["model.encoder.embed_tokens.weight"], source_rows)
    load_table(target, weights, names, target_rows)
    rows = len(target_rows) - 1
    if target.output_kind == "separate":
        table = weights.take(rows, target.embedding_dim, names=["lm_head.weight"])
        target.tokens.reverse_embeddings.assign(table[target_rows].T)
    if "final_logits_bias" in weights.arrays:  # else zeros
        bias = weights.take(1, rows, names=["final_logits_bias"])
        target.output_bias.assign(bias[0, target_rows])
    lower_bias(model, [START])
    for side, blocks in (("encoder", model.encoder.body.blocks), ("decoder", model.decoder.blocks)):
        for depth, block in enumerate(blocks):
            load_block(block, weights, f"model.{side}.layers.{depth}", target.embedding_dim)


def load_table(
    embedding: TokenEmbedding, weights: Weights, names: list[str], rows: np.ndarray
) -> None:
    """Gives an embedding the rows of the first of these; START's, a copy, is one more."""
    table = weights.take(len(rows) - 1, embedding.embedding_dim, names=names)
    embedding.tokens.embeddings.assign(table[rows])


def load_block(block: Any, weights: Weights, name: str, width: int) -> None:
    """Gives an encoder's or a decoder's block its weights."""
    load_parts(block.self_attention, weights.attention(f"{name}.self_attn", width))
    block.self_attention_residual.norm_layer.set_weights(
        weights.norm(f"{name}.self_attn_layer_norm", width)
    )
    if isinstance(block, DecoderBlock):
        load_parts(block.cross_attention, weights.attention(f"{name}.encoder_attn", width))
        norm = weights.norm(f"{name}.encoder_attn_layer_norm", width)
        block.cross_attention_residual.norm_layer.set_weights(norm)
    hidden = block.feed_forward.intermediate_dim
    block.feed_forward.inner.set_weights(weights.linear(f"{name}.fc1", width, hidden))
    block.feed_forward.outer.set_weights(weights.linear(f"{name}.fc2", hidden, width))
    block.feed_forward_residual.norm_layer.set_weights(
        weights.norm(f"{name}.final_layer_norm", width)
    )


def lower_bias(model: EncoderDecoder, ids: Sequence[int]) -> None:
    """Leaves these ids no share in what comes next."""
    bias = model.decoder.embedding.output_bias
    lowered = np.array(ops.convert_to_numpy(bias))
    lowered[ids] -= FAR
    bias.assign(lowered)
