"""Weights of a Marian folder, and loading them into a Keras model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from keras_attention.utils.optional_imports import require_extra

require_extra("text", "keras_attention.interop.marian")

from safetensors.numpy import load_file

from keras_attention.interop.attention import load_parts
from keras_attention.interop.torch_file import load_torch_file
from keras_attention.layers import DecoderBlock, TokenEmbedding
from keras_attention.models import EncoderDecoder
from keras_attention.ops.ids import START
from keras_attention.utils.limits import limits
from keras_attention.utils.reading import errors_name_file

WEIGHTS, OLDER_WEIGHTS = "model.safetensors", "pytorch_model.bin"
# Subtracted from a logit: leaves a probability of 0 and keeps label smoothing's mean finite.
SUPPRESSION = 100.0


class Weights:
    """Arrays of `model.safetensors` or the older `pytorch_model.bin`.

    Args:
        folder: Folder of the model.

    Raises:
        ValueError: If there is no such file or it is damaged; in the methods, if an array is
            missing, has another shape than in `config.json`, or is not of finite floats.
    """

    def __init__(self, folder: Path):
        self.path = folder / WEIGHTS
        if self.path.is_file():
            with errors_name_file(self.path, "The file must be in the safetensors format"):
                check_safetensors_header(self.path)
                self.arrays = load_file(self.path)
            return
        self.path = folder / OLDER_WEIGHTS
        if not self.path.is_file():
            raise ValueError(
                f"The folder must contain {WEIGHTS} or {OLDER_WEIGHTS}. "
                f"Received: folder={str(folder)!r}"
            )
        self.arrays = load_torch_file(self.path)

    def take(self, *shape: int, names: Sequence[str]) -> np.ndarray:
        """Returns the first array of these names that exists, as float32."""
        name = self.find(names, *shape)
        array = self.arrays[name].astype("float32")
        if not np.isfinite(array).all():
            raise ValueError(
                f"`{name}` must have finite values. Received: NaN or infinity, "
                f"file={str(self.path)!r}"
            )
        return array

    def find(self, names: Sequence[str], *shape: int) -> str:
        """Returns the first of these names that exists, and checks the shape and the type."""
        name = next((name for name in names if name in self.arrays), None)
        if name is None:
            raise ValueError(
                f"The weights must contain `{names[0]}`. "
                f"Received: {len(self.arrays)} other arrays, file={str(self.path)!r}"
            )
        array = self.arrays[name]
        if array.shape != shape:
            raise ValueError(
                f"`{name}` must have the shape {shape}, as in config.json. "
                f"Received: shape={array.shape}, file={str(self.path)!r}"
            )
        if array.dtype.kind != "f":
            raise ValueError(
                f"`{name}` must be of floating point type. "
                f"Received: dtype={array.dtype}, file={str(self.path)!r}"
            )
        return name

    def linear(self, name: str, inputs: int, outputs: int) -> tuple:
        """Returns kernel `(inputs, outputs)` and bias `(outputs,)` of a linear layer."""
        kernel = self.take(outputs, inputs, names=[f"{name}.weight"])
        return kernel.T, self.take(outputs, names=[f"{name}.bias"])

    def attention(self, name: str, width: int) -> dict[str, tuple]:
        """Returns kernel and bias of each projection, as `load_parts` expects them."""
        names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}
        return {
            part: self.linear(f"{name}.{torch_name}", width, width)
            for part, torch_name in names.items()
        }

    def norm(self, name: str, width: int) -> tuple:
        """Returns scale and offset of a layer normalization."""
        return tuple(self.take(width, names=[f"{name}.{kind}"]) for kind in ("weight", "bias"))


def check_safetensors_header(path: Path) -> None:
    """Raises a `ValueError` if the header of a safetensors file exceeds the limit or the file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
    most = min(limits.safetensors_header_bytes, path.stat().st_size)
    if size > most:
        raise ValueError(
            f"The header must have at most {most} bytes. Received: {str(path)!r} with a header of "
            f"{size} bytes"
        )


def load_weights(
    model: EncoderDecoder, weights: Weights, source_rows: np.ndarray, target_rows: np.ndarray
) -> None:
    """Loads the weights of a folder into a model.

    Args:
        model: Model built from the folder's `config.json`.
        weights: Weights of the folder.
        source_rows: For each source id of the model, the row in the files' embedding.
        target_rows: For each target id of the model, the row in the files' embedding.
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
    if "final_logits_bias" in weights.arrays:  # zeros otherwise
        bias = weights.take(1, rows, names=["final_logits_bias"])
        target.output_bias.assign(bias[0, target_rows])
    suppress_in_bias(model, [START])
    for side, blocks in (("encoder", model.encoder.body.blocks), ("decoder", model.decoder.blocks)):
        for depth, block in enumerate(blocks):
            load_block(block, weights, f"model.{side}.layers.{depth}", target.embedding_dim)


def load_table(
    embedding: TokenEmbedding, weights: Weights, names: list[str], rows: np.ndarray
) -> None:
    """Loads an embedding from the first array of these names; START's row is a copy."""
    table = weights.take(len(rows) - 1, embedding.embedding_dim, names=names)
    embedding.tokens.embeddings.assign(table[rows])


def load_block(block: Any, weights: Weights, name: str, width: int) -> None:
    """Loads the weights of an encoder or decoder block."""
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


def suppress_in_bias(model: EncoderDecoder, ids: Sequence[int]) -> None:
    """Lowers the output bias of these ids, so that their probability is 0."""
    bias = model.decoder.embedding.output_bias
    lowered = np.array(ops.convert_to_numpy(bias))
    lowered[ids] -= SUPPRESSION
    bias.assign(lowered)
