"""Greedy search with the signatures `encode` and `decode` of a TFLite file, as an app runs them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from keras_attention.export.tflite.compiled_model import CompiledModelRunner
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.export.tflite.static_shapes import run_in_pieces
from keras_attention.export.unsupported import check_no_details
from keras_attention.generation import GreedySearch
from keras_attention.models.saved_strategy import check_saved_strategy
from keras_attention.ops.ids import END, PAD, START
from keras_attention.utils.atomic_io import read_json

STEPS_FILE = "steps.tflite"
ENCODE, DECODE = "encode", "decode"
LOGITS = "logits"


class GreedyLoop:
    """Greedy search with `encode` and `decode`.

    Args:
        call: `call(signature, inputs)` runs a signature of the file.
        strategy: gives the maximum number of tokens, and whether END is forced there.
        zeros: the tensors that `encode` does not return.
        static_shape: shape to which `source` is padded; `None` if it is free.
    """

    def __init__(
        self,
        call: Callable[[str, dict[str, Any]], dict[str, np.ndarray]],
        strategy: GreedySearch,
        zeros: dict[str, np.ndarray] | None = None,
        static_shape: Sequence[int] | None = None,
    ):
        self.call = call
        self.strategy = strategy
        self.zeros = zeros or {}
        self.static_shape = static_shape

    def generate(self, source: np.ndarray) -> dict[str, np.ndarray]:
        """Generates.

        Args:
            source: model inputs.

        Returns:
            `ids` int32 `(batch, 1, max_new_tokens)`, padded, and `scores` float32 `(batch, 1)`, the
            sums of the log-probabilities.
        """
        if self.static_shape is None:
            return self._generate(source)
        shapes = {"source": tuple(self.static_shape)}
        return run_in_pieces(self._generate, {"source": source}, shapes)

    def _generate(self, source):
        limit = self.strategy.max_new_tokens
        tensors = {**self.zeros, **self.call(ENCODE, {"source": source})}
        last = np.full(len(source), START, "int32")
        ids = np.full((len(source), 1, limit), PAD, "int32")
        scores = np.zeros((len(source), 1), "float32")
        is_open = np.ones(len(source), bool)
        for position in range(limit):
            inputs = {**tensors, "ids": last, "position": np.array(position, "int32")}
            outputs = self.call(DECODE, inputs)
            best, log_probs = _most_probable(outputs.pop(LOGITS))
            if self.strategy.force_end and position + 1 == limit:
                best, log_probs = np.full_like(best, END), np.zeros_like(log_probs)
            last = np.where(is_open, best, PAD).astype("int32")
            ids[:, 0, position] = last
            scores[:, 0] += np.where(is_open, log_probs, 0.0)
            is_open &= last != END
            if not is_open.any():
                break
            tensors.update(outputs)
        return {"ids": ids, "scores": scores}


def _most_probable(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the most probable token of each row and its log-probability, each `(batch,)`."""
    difference = logits - logits.max(axis=-1, keepdims=True)  # (B, V)
    return logits.argmax(axis=-1), -np.log(np.exp(difference).sum(axis=-1))


def zeros_of_decode(runner: TFLiteRunner) -> dict[str, np.ndarray]:
    """Returns the tensors that `decode` reads and `encode` does not return; they are zero."""
    signature = runner.interpreter.get_signature_runner
    inputs = signature(DECODE).get_input_details()
    returned = {"ids", "position", *signature(ENCODE).get_output_details()}
    return {
        name: np.zeros(x["shape"], x["dtype"]) for name, x in inputs.items() if name not in returned
    }


class StepRunner:
    """Runs an export of `encode` and `decode`, with greedy search.

    Args:
        folder: folder of the export.
        compiled: whether to run the signatures with LiteRT's `CompiledModel` in place of
            `Interpreter`.

    Raises:
        ValueError: If `export.json` asks for more than `keras_attention.utils.limits` allow.
    """

    def __init__(self, folder: str | Path, compiled: bool = False) -> None:
        self.folder = Path(folder)
        file = self.folder / STEPS_FILE
        runner = TFLiteRunner(file)
        self.default_workers = runner.default_workers
        about = read_json(self.folder / "export.json")
        strategy = GreedySearch(about["max_new_tokens"], force_end=about["force_end"])
        signature = runner.interpreter.get_signature_runner
        logits = signature(DECODE).get_output_details()[LOGITS]
        check_saved_strategy(strategy, SimpleNamespace(vocabulary_size=int(logits["shape"][-1])))
        shape = signature(ENCODE).get_input_details()["source"]["shape"]
        call = CompiledModelRunner(file).call if compiled else runner.call
        self._loop = GreedyLoop(call, strategy, zeros_of_decode(runner), shape)

    def __call__(self, model_inputs: np.ndarray, details: bool = False) -> dict[str, np.ndarray]:
        """Generates.

        Args:
            model_inputs: as `source` of the file, with at most its length and any number of rows.
            details: must be False, since the file returns no attention weights.

        Returns:
            `ids` and `scores`, as `GenerationOutput`.

        Raises:
            ValueError: If `details` is True or an input is too long.
        """
        check_no_details(details, self)
        return self._loop.generate(np.asarray(model_inputs))

    def call(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs for the inputs `{"source": ids}`."""
        return self(inputs["source"])

    def __repr__(self):
        return f"{type(self).__name__}({str(self.folder)!r})"
