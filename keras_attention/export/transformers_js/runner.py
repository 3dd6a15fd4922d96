"""Runner of the folder that transformers.js loads."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from keras_attention.export.onnx.runner import ONNXRunner
from keras_attention.export.transformers_js.layout import (
    BATCH,
    DECODER_FILE,
    ENCODER_FILE,
    PAST,
    PRESENT,
)
from keras_attention.export.unsupported import check_no_details
from keras_attention.generation import GreedySearch
from keras_attention.generation.logits_processors import MIN_LOG_PROB
from keras_attention.models.saved_strategy import check_saved_strategy
from keras_attention.ops.ids import END, PAD, START, UNKNOWN
from keras_attention.utils.atomic_io import read_json


class TransformersJSRunner:
    """Greedy search with the encoder and the decoder in ONNX Runtime.

    It reads `generation_config.json` and feeds the graphs as transformers.js does.

    Args:
        folder: folder of the export.
        providers: execution providers of ONNX Runtime, in the order of preference.

    Raises:
        ValueError: If `generation_config.json` asks for more than `keras_attention.utils.limits`
            allow.
    """

    default_workers = 1

    def __init__(
        self, folder: str | Path, providers: tuple[str, ...] = ("CPUExecutionProvider",)
    ) -> None:
        self.folder = Path(folder)
        self.encoder, self.decoder = (
            ONNXRunner(self.folder / file, providers) for file in (ENCODER_FILE, DECODER_FILE)
        )
        self.source_offset = read_json(self.folder / "export.json")["source_offset"]
        config = read_json(self.folder / "generation_config.json")
        self.strategy = GreedySearch(
            config["max_length"] - 1,
            suppress_tokens=config["suppress_tokens"],
            force_end="forced_eos_token_id" in config,
        )
        config = read_json(self.folder / "config.json")
        decoder = SimpleNamespace(vocabulary_size=config["vocab_size"])
        check_saved_strategy(self.strategy, decoder)

    def __call__(self, model_inputs: np.ndarray, details: bool = False) -> dict[str, np.ndarray]:
        """Generates.

        Args:
            model_inputs: ids `(batch, length)` of the source tokenizer, padded with 0.
            details: must be False, since the decoder returns no attention weights.

        Returns:
            `ids` and `scores`, as `GenerationOutput`.

        Raises:
            ValueError: If `details` is True.
        """
        check_no_details(details, self)
        source = np.asarray(model_inputs)
        inputs = self._encode(source)
        strategy, last = self.strategy, np.full(len(source), START)
        ids = np.full((len(source), strategy.max_new_tokens), PAD, "int32")
        scores = np.zeros(len(source), "float32")
        is_running = np.ones(len(source), bool)
        for position in range(strategy.max_new_tokens):
            outputs = self.decoder.call({**inputs, "input_ids": last[:, None]})
            log_probs = self._log_probs(outputs.pop("logits")[:, 0], position)  # (B, V)
            last = np.where(is_running, log_probs.argmax(-1), PAD)
            ids[:, position] = last
            scores += np.where(is_running, log_probs.max(-1), 0)
            is_running &= last != END
            if not is_running.any():
                break
            caches = {name.replace(PRESENT, PAST): x for name, x in outputs.items()}
            inputs = {**inputs, **caches, "use_cache_branch": [True]}
        return {"ids": ids[:, None], "scores": scores[:, None]}

    def call(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs for the inputs `{"source": ids}`."""
        return self(inputs["source"])

    def _encode(self, source: np.ndarray) -> dict:
        """Returns the inputs of the decoder at the first step, but for `input_ids`."""
        input_ids = np.where(source > UNKNOWN, source + self.source_offset, source)
        mask = source != PAD
        encoded = self.encoder.call({"input_ids": input_ids, "attention_mask": mask})
        shapes = {x.name: x.shape for x in self.decoder.session.get_inputs()}
        sizes = {BATCH: len(source)}  # of other names: 0
        caches = {
            name: np.zeros(
                [sizes.get(size, 0) if isinstance(size, str) else size for size in shape]
            )
            for name, shape in shapes.items()
            if name.startswith(PAST)
        }
        return {
            "encoder_hidden_states": encoded["last_hidden_state"],
            "encoder_attention_mask": mask,
            "use_cache_branch": [False],
            **caches,
        }

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
