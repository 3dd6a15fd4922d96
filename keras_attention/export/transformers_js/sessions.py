"""Graphs for transformers.js in ONNX Runtime, and the inputs of each of their calls."""

from pathlib import Path
from typing import Any

import numpy as np

from keras_attention.export.onnx.runner import ONNXRunner
from keras_attention.export.transformers_js.layout import (
    BATCH,
    DECODER,
    ENCODER,
    LANGUAGE_MODEL,
    PAST,
    PRESENT,
    graph_file,
)
from keras_attention.ops.ids import PAD, START, UNKNOWN
from keras_attention.utils.atomic_io import read_json

CPU = ("CPUExecutionProvider",)
Inputs = dict[str, Any]


class TranslatorSessions:
    """Encoder and decoder of a translator.

    Args:
        folder: folder of the export.
        weights: their precision.
        providers: execution providers of ONNX Runtime.
    """

    def __init__(self, folder: Path, weights: str, providers: tuple[str, ...] = CPU) -> None:
        self.encoder, self.decoder = (
            ONNXRunner(folder / graph_file(name, weights), providers) for name in (ENCODER, DECODER)
        )
        self.source_offset = read_json(folder / "export.json")["source_offset"]

    def first_inputs(self, source: np.ndarray) -> Inputs:
        """Returns the inputs of the decoder at the first step.

        Args:
            source: ids `(batch, length)` of the source tokenizer, padded with 0.
        """
        input_ids = np.where(source > UNKNOWN, source + self.source_offset, source)
        mask = source != PAD
        encoded = self.encoder.call({"input_ids": input_ids, "attention_mask": mask})
        return {
            "input_ids": np.full((len(source), 1), START),
            "encoder_hidden_states": encoded["last_hidden_state"],
            "encoder_attention_mask": mask,
            "use_cache_branch": [False],
            **_empty_caches(self.decoder, len(source)),
        }

    def next_inputs(self, inputs: Inputs, last: np.ndarray, outputs: Inputs) -> Inputs:
        """Returns the inputs of the next step.

        Args:
            inputs: of this step.
            last: the generated ids, `(batch, 1)`.
            outputs: of this step, without the logits.
        """
        return {**inputs, **_as_past(outputs), "input_ids": last, "use_cache_branch": [True]}


class LanguageModelSessions:
    """Decoder of a language model.

    Args:
        folder: folder of the export.
        weights: their precision.
        providers: execution providers of ONNX Runtime.
    """

    def __init__(self, folder: Path, weights: str, providers: tuple[str, ...] = CPU) -> None:
        self.decoder = ONNXRunner(folder / graph_file(LANGUAGE_MODEL, weights), providers)

    def first_inputs(self, source: np.ndarray) -> Inputs:
        """Returns the inputs of the call that reads the prompts.

        Args:
            source: ids `(batch, length)` of prompts without START, padded with 0.
        """
        prompts = [[START, *row[row != PAD]] for row in source]
        ids = np.full((len(prompts), max(map(len, prompts), default=1)), PAD)
        for row, prompt in zip(ids, prompts, strict=True):
            row[-len(prompt) :] = prompt  # padding is on the left
        mask = (ids != PAD).astype("int64")
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": _positions(mask),
            **_empty_caches(self.decoder, len(source)),
        }

    def next_inputs(self, inputs: Inputs, last: np.ndarray, outputs: Inputs) -> Inputs:
        """Returns the inputs of the next step; see `TranslatorSessions.next_inputs`."""
        mask = np.pad(inputs["attention_mask"], ((0, 0), (0, 1)), constant_values=1)
        return {
            "input_ids": last,
            "attention_mask": mask,
            "position_ids": _positions(mask)[:, -1:],
            **_as_past(outputs),
        }


def _positions(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, mask.cumsum(-1) - 1, 1)


def _as_past(outputs: Inputs) -> Inputs:
    return {name.replace(PRESENT, PAST): x for name, x in outputs.items()}


def _empty_caches(decoder: ONNXRunner, batch_size: int) -> Inputs:
    """Returns caches without positions."""
    sizes = {BATCH: batch_size}  # of other names: 0
    return {
        x.name: np.zeros(
            [sizes.get(size, 0) if isinstance(size, str) else size for size in x.shape]
        )
        for x in decoder.session.get_inputs()
        if x.name.startswith(PAST)
    }
