"""Runner of the folder that transformers.js loads."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from keras_attention.export.transformers_js.layout import LANGUAGE_MODEL, graph_file
from keras_attention.export.transformers_js.sessions import (
    CPU,
    LanguageModelSessions,
    TranslatorSessions,
)
from keras_attention.export.unsupported import check_no_details
from keras_attention.generation import GreedySearch
from keras_attention.generation.logits_processors import MIN_LOG_PROB
from keras_attention.models.saved_strategy import check_saved_strategy
from keras_attention.ops.ids import END, PAD
from keras_attention.utils.atomic_io import read_json


class TransformersJSRunner:
    """Greedy search with the graphs of a folder in ONNX Runtime.

    It reads `generation_config.json` and feeds the graphs as transformers.js does.

    Args:
        folder: folder of the export.
        providers: execution providers of ONNX Runtime, in the order of preference.

    Raises:
        ValueError: If `generation_config.json` asks for more than `keras_attention.utils.limits`
            allow.
    """

    default_workers = 1

    def __init__(self, folder: str | Path, providers: tuple[str, ...] = CPU) -> None:
        self.folder = Path(folder)
        weights = read_json(self.folder / "export.json").get("weights", "float32")
        is_language_model = (self.folder / graph_file(LANGUAGE_MODEL, weights)).is_file()
        kind = LanguageModelSessions if is_language_model else TranslatorSessions
        self.sessions: LanguageModelSessions | TranslatorSessions = kind(
            self.folder, weights, providers
        )
        config = read_json(self.folder / "generation_config.json")
        self.strategy = GreedySearch(
            config["max_new_tokens"] if is_language_model else config["max_length"] - 1,
            suppress_tokens=config["suppress_tokens"],
            force_end="forced_eos_token_id" in config,
        )
        config = read_json(self.folder / "config.json")
        decoder = SimpleNamespace(vocabulary_size=config["vocab_size"])
        check_saved_strategy(self.strategy, decoder)

    def __call__(self, model_inputs: np.ndarray, details: bool = False) -> dict[str, np.ndarray]:
        """Generates.

        Args:
            model_inputs: ids `(batch, length)` of the source tokenizer, padded with 0; of prompts,
                without START.
            details: must be False, since the decoder returns no attention weights.

        Returns:
            `ids` and `scores`, as `GenerationOutput`.

        Raises:
            ValueError: If `details` is True.
        """
        check_no_details(details, self)
        source = np.asarray(model_inputs)
        strategy, count = self.strategy, len(source)
        ids = np.full((count, strategy.max_new_tokens), PAD, "int32")
        scores = np.zeros(count, "float32")
        is_running = np.ones(count, bool)
        inputs = self.sessions.first_inputs(source)
        for position in range(strategy.max_new_tokens):
            outputs = self.sessions.decoder.call(inputs)
            log_probs = self._log_probs(outputs.pop("logits")[:, -1], position)  # (B, V)
            last = np.where(is_running, log_probs.argmax(-1), PAD)
            ids[:, position] = last
            scores += np.where(is_running, log_probs.max(-1), 0)
            is_running &= last != END
            if not is_running.any():
                break
            inputs = self.sessions.next_inputs(inputs, last[:, None], outputs)
        return {"ids": ids[:, None], "scores": scores[:, None]}

    def call(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs for the inputs `{"source": ids}`."""
        return self(inputs["source"])

    def _log_probs(self, logits: np.ndarray, position: int) -> np.ndarray:
        """Returns the log-probabilities (B, V) of the tokens that may be generated."""
        logits = logits - logits.max(-1, keepdims=True)
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        log_probs[:, list(self.strategy.suppress_tokens)] = MIN_LOG_PROB
        if self.strategy.force_end and position + 1 == self.strategy.max_new_tokens:
            log_probs[:] = MIN_LOG_PROB
            log_probs[:, END] = 0
        return log_probs

    def __repr__(self):
        return f"{type(self).__name__}({str(self.folder)!r})"
