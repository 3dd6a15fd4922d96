"""Runner of a `.litertlm` file in LiteRT."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from keras_attention.export.litert_lm.bundle import FILE, read_bundle
from keras_attention.export.litert_lm.layout import (
    CACHE,
    DECODE,
    LOGITS,
    MASK,
    MASKED,
    POSITIONS,
    PREFILL,
    TOKENS,
    prefill_name,
)
from keras_attention.export.litert_lm.lengths import split_prompt
from keras_attention.export.tflite.compiled_model import CompiledModelRunner
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.export.unsupported import check_no_details
from keras_attention.generation import GreedySearch
from keras_attention.generation.logits_processors import MIN_LOG_PROB
from keras_attention.models.saved_strategy import check_saved_strategy
from keras_attention.ops.ids import END, PAD, START
from keras_attention.utils.atomic_io import read_json


class LiteRTLMRunner:
    """Greedy search with the functions of a `.litertlm` file, which it feeds as LiteRT-LM does.

    Args:
        folder: folder of the export.
        compiled: whether to run the functions with LiteRT's `CompiledModel`, as LiteRT-LM does, in
            place of `Interpreter`.

    Raises:
        ValueError: If `export.json` asks for more than `keras_attention.utils.limits` allow.
    """

    def __init__(self, folder: str | Path, compiled: bool = False) -> None:
        self.folder = Path(folder)
        model, _, metadata = read_bundle(self.folder / FILE)
        runner = TFLiteRunner(model)
        self._call = (CompiledModelRunner(model) if compiled else runner).call
        self.default_workers = runner.default_workers
        interpreter = runner.interpreter
        functions = interpreter.get_signature_list()
        names = [name for name in functions if name.startswith(PREFILL)]
        self.prefill_lengths = sorted(int(name.split("_")[-1]) for name in names)
        self.max_tokens = metadata.max_num_tokens
        decode = interpreter.get_signature_runner(DECODE)
        details = decode.get_input_details()
        self._slots = int(details[MASK]["shape"][-1])
        self._cache_shapes = {
            name: about["shape"] for name, about in details.items() if name.startswith(CACHE)
        }
        self.suppressed = list(metadata.suppress_tokens.ids)
        limit = read_json(self.folder / "export.json")["max_new_tokens"]
        self.strategy = GreedySearch(limit, suppress_tokens=self.suppressed)
        logits = decode.get_output_details()[LOGITS]
        decoder = SimpleNamespace(vocabulary_size=int(logits["shape"][-1]))
        check_saved_strategy(self.strategy, decoder)

    def __call__(self, model_inputs: np.ndarray, details: bool = False) -> dict[str, np.ndarray]:
        """Generates.

        Args:
            model_inputs: ids `(batch, length)` of prompts without START, padded with 0.
            details: must be False, since the file returns no attention weights.

        Returns:
            `ids` and `scores`, as `GenerationOutput`.

        Raises:
            ValueError: If `details` is True, or a prompt and its continuation do not fit into the
                caches.
        """
        check_no_details(details, self)
        prompts = np.asarray(model_inputs)
        ids = np.full((len(prompts), 1, self.strategy.max_new_tokens), PAD, "int32")
        scores = np.zeros((len(prompts), 1), "float32")
        for row, prompt in enumerate(prompts):
            for step, (token, log_prob) in enumerate(self._generate(prompt[prompt != PAD])):
                ids[row, 0, step] = token
                scores[row] += log_prob
        return {"ids": ids, "scores": scores}

    def call(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs for the inputs `{"source": ids}`."""
        return self(inputs["source"])

    def _generate(self, prompt: np.ndarray) -> Iterator[tuple[int, float]]:
        """Yields the tokens that follow one prompt, and their log-probabilities."""
        tokens = np.concatenate([[START], prompt])
        if len(tokens) + self.strategy.max_new_tokens > self.max_tokens:
            raise ValueError(
                f"A prompt and {self.strategy.max_new_tokens} more tokens must have at most "
                f"{self.max_tokens} tokens, START included. Received: {len(tokens)} tokens"
            )
        caches = {name: np.zeros(shape, "float32") for name, shape in self._cache_shapes.items()}
        # The last token of the prompt is read by `decode`, as its logits are needed.
        position = 0
        for length in split_prompt(len(tokens) - 1, self.prefill_lengths):
            chunk = tokens[position : min(position + length, len(tokens) - 1)]
            caches = self._read(prefill_name(length), length, chunk, position, caches)
            position += len(chunk)
        last = tokens[-1]
        for _ in range(self.strategy.max_new_tokens):
            caches = self._read(DECODE, 1, [last], position, caches)
            log_probs = self._log_probs(caches.pop(LOGITS)[0, 0])
            last, position = int(log_probs.argmax()), position + 1
            yield last, float(log_probs[last])
            if last == END:
                return

    def _read(self, function, length, tokens, position, caches):
        """Runs a function on tokens; returns its outputs."""
        inputs = {
            TOKENS: np.full((1, length), PAD, "int32"),
            POSITIONS: np.zeros(length, "int32"),
            MASK: np.full((1, 1, length, self._slots), MASKED, "float32"),
        }
        for i, token in enumerate(tokens):
            inputs[TOKENS][0, i] = token
            inputs[POSITIONS][i] = position + i
            inputs[MASK][0, 0, i, : position + i + 1] = 0.0
        return self._call(function, {**inputs, **caches})

    def _log_probs(self, logits: np.ndarray) -> np.ndarray:
        greatest = logits.max()
        log_probs = logits - greatest - np.log(np.exp(logits - greatest).sum())
        log_probs[self.suppressed] = MIN_LOG_PROB
        return log_probs

    def __repr__(self):
        return f"{type(self).__name__}({str(self.folder)!r})"
