"""Runner of an exported CTranslate2 model."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ctranslate2
import keras
import numpy as np

from keras_attention.generation import BeamSearch, Strategy
from keras_attention.generation.logits_processors import MIN_LOG_PROB
from keras_attention.models.saved_strategy import check_saved_strategy
from keras_attention.ops.ids import END, PAD, START
from keras_attention.utils.atomic_io import read_json
from keras_attention.utils.reading import read_bytes

FILE = "model.bin"


class CTranslate2Runner:
    """Runs a CTranslate2 model.

    The hypotheses of a beam search are those of CTranslate2, which stops a search when `num_beams`
    hypotheses are finished. They are ranked by the strategy's own length penalty. Log-probabilities
    are those among the tokens that may be generated. The translation of an empty source is empty.

    Args:
        folder: folder of the export.
        device: `"cpu"` or `"cuda"`.

    Raises:
        ValueError: If `export.json` describes no strategy, or one beyond
            `keras_attention.utils.limits`.
    """

    default_workers = 1

    def __init__(self, folder: str | Path, device: str = "cpu"):
        self.folder = Path(folder)
        config = read_json(self.folder / "export.json")
        self.strategy: Strategy = keras.saving.deserialize_keras_object(config["search"])
        self.is_language_model = (self.folder / "vocabulary.json").is_file()
        names = ("vocabulary",) * 2 if self.is_language_model else ("source", "target")
        self.source_tokens, self.target_tokens = (self._read_vocabulary(name) for name in names)
        decoder = SimpleNamespace(vocabulary_size=len(self.target_tokens))
        check_saved_strategy(self.strategy, decoder)
        self._target_ids = {token: id for id, token in enumerate(self.target_tokens)}
        engine = ctranslate2.Generator if self.is_language_model else ctranslate2.Translator
        self._engine = engine(str(self.folder), device)

    def _read_vocabulary(self, name: str) -> list[str]:
        names = [name] if self.is_language_model else [f"{name}_vocabulary", "shared_vocabulary"]
        files = [self.folder / f"{each}.json" for each in names]
        file = next(file for file in files if file.is_file())
        return json.loads(read_bytes(file, "tokenizer_bytes"))

    def __call__(self, model_inputs: np.ndarray, details: bool = False) -> dict[str, np.ndarray]:
        """Generates.

        Args:
            model_inputs: ids `(batch, length)`, padded with 0.
            details: whether to return attention weights, which a language model does not have.

        Returns:
            `ids`, `scores` and with details `attention`, as `GenerationOutput`.
        """
        model_inputs = np.asarray(model_inputs)
        if details and self.is_language_model:
            raise ValueError(
                "Attention weights need a translator; CTranslate2 returns none of a language "
                f"model. Received: runner={self!r}"
            )
        results = self._generate(self._tokens(model_inputs), details)
        return self._outputs(results, model_inputs.shape, details)

    def call(self, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Returns the outputs for the inputs of the export's signature."""
        return self(np.asarray(inputs["source"]))

    def score(self, model_inputs: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Returns the sums of log-probabilities of sequences, among all tokens.

        Args:
            model_inputs: ids `(batch, length)`.
            ids: one sequence for each, `(batch, steps)`, padded with 0.

        Returns:
            float32 `(batch,)`.
        """
        last = self.strategy.max_new_tokens - self.strategy.force_end  # a forced END counts as 0
        rows = [[self.target_tokens[id] for id in row[:last] if id != PAD] for row in ids]
        sources = self._tokens(np.asarray(model_inputs))
        if self.is_language_model:
            whole = [source + row for source, row in zip(sources, rows, strict=True)]
            results = self._engine.score_batch(whole, max_input_length=0)
            parts = [
                x.log_probs[len(x.log_probs) - len(row) :]
                for x, row in zip(results, rows, strict=True)
            ]
        else:
            end = self.target_tokens[END]
            rows_without_end = [row[:-1] if row[-1:] == [end] else row for row in rows]
            results = self._engine.score_batch(sources, rows_without_end, max_input_length=0)
            parts = [x.log_probs[: len(row)] for x, row in zip(results, rows, strict=True)]
        return np.array([sum(part) for part in parts], "float32")

    def _tokens(self, ids: np.ndarray) -> list[list[str]]:
        start = [self.target_tokens[START]] if self.is_language_model else []
        return [start + [self.source_tokens[id] for id in row if id != PAD] for row in ids]

    def _generate(self, tokens, details):
        strategy = self.strategy
        limit = strategy.max_new_tokens - strategy.force_end
        options = {
            "beam_size": strategy.num_beams,
            "num_hypotheses": strategy.num_beams,
            "length_penalty": 0.0,  # scores are sums of log-probabilities
            "suppress_sequences": [[self.target_tokens[id]] for id in strategy.suppressed_ids],
            "return_scores": True,
            "return_end_token": True,
        }
        if self.is_language_model:
            options |= {"max_length": limit, "include_prompt_in_result": False}
            return self._generate_by_length(tokens, options)
        return self._engine.translate_batch(
            tokens, max_input_length=0, max_decoding_length=limit, min_decoding_length=0,
            return_attention=details, **options,
        )  # fmt: skip

    def _generate_by_length(self, prompts, options):
        """Runs prompts of one length at a time; results of others begin with prompt tokens."""
        results: list = [None] * len(prompts)
        for length in {len(prompt) for prompt in prompts}:
            rows = [row for row, prompt in enumerate(prompts) if len(prompt) == length]
            outputs = self._engine.generate_batch([prompts[row] for row in rows], **options)
            for row, output in zip(rows, outputs, strict=True):
                results[row] = output
        return results

    def _outputs(self, results, shape, details):
        """Returns arrays of the best hypotheses of each row."""
        strategy, (batch, source_length) = self.strategy, shape
        num_returned = getattr(strategy, "num_return_sequences", 1)
        outputs = {
            "ids": np.full((batch, num_returned, strategy.max_new_tokens), PAD, "int32"),
            "scores": np.full((batch, num_returned), MIN_LOG_PROB, "float32"),
        }
        if details:
            outputs["attention"] = np.zeros((*outputs["ids"].shape, source_length), "float32")
        for row, result in enumerate(results):
            hypotheses = [self._complete(ids) for ids in self._ids(result)]
            scores = self._rank(hypotheses, result.scores)
            best = np.argsort(-scores, kind="stable")[:num_returned]
            for n, index in enumerate(best):
                outputs["ids"][row, n, : len(hypotheses[index])] = hypotheses[index]
                outputs["scores"][row, n] = scores[index]
                if details and result.attention[index]:  # none of an empty source
                    weights = np.array(result.attention[index], "float32")  # (L, S)
                    outputs["attention"][row, n, : len(weights), : weights.shape[1]] = weights
        return outputs

    def _ids(self, result) -> Sequence[list[int]]:
        if self.is_language_model:
            return result.sequences_ids
        return [[self._target_ids[token] for token in row] for row in result.hypotheses]

    def _complete(self, ids: list[int]) -> list[int]:
        """Returns ids with the END of an empty translation, or that is forced at the limit."""
        lacks_end = self.strategy.force_end and ids[-1:] != [END]
        return [*ids, END] if lacks_end or not ids else ids

    def _rank(self, hypotheses: list[list[int]], log_probs: list[float]) -> np.ndarray:
        """Returns the strategy's score of each hypothesis."""
        scores = np.array(log_probs, "float32")
        if isinstance(self.strategy, BeamSearch):
            lengths = np.array([len(ids) for ids in hypotheses])
            scores = scores / np.asarray(self.strategy.length_normalizer(lengths))
        return scores

    def __repr__(self):
        return f"{type(self).__name__}({str(self.folder)!r})"
