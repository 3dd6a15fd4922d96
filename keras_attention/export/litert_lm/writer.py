"""Writer of `.litertlm` files, and the tokenizer next to them."""

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_attention.export.litert_lm.bundle import FILE, Bundle, describe, write_bundle
from keras_attention.export.litert_lm.graphs import list_functions
from keras_attention.export.litert_lm.lengths import choose_lengths
from keras_attention.export.litert_lm.runner import LiteRTLMRunner
from keras_attention.export.litert_lm.tokenizer_section import compare_tokenizers, make_section
from keras_attention.export.litert_lm.unsupported import check_supported
from keras_attention.export.signatures import Exportable
from keras_attention.export.tflite.conversion import convert
from keras_attention.export.tflite.flatbuffer import write_model
from keras_attention.export.verification.compare import (
    ExportError,
    compare,
    compare_apis,
    predictions_of_model,
    sample_batches,
)
from keras_attention.export.verification.quality import check_references, compare_quality
from keras_attention.export.verification.report import EXPORT_FORMAT, REPORT, report
from keras_attention.export.verification.samples import record_samples
from keras_attention.export.verification.tolerances import PRECISIONS
from keras_attention.generation import Strategy
from keras_attention.text import Tokenizer
from keras_attention.utils.atomic_io import check_replaceable, replace_folder, write_json
from keras_attention.utils.full_disk import explain_full_disk
from keras_attention.utils.manifest import write_manifest
from keras_attention.utils.validation import check_one_of

WEIGHTS = ("float32", "float16", "int8", "int4")


@dataclasses.dataclass(frozen=True)
class LanguageModel:
    """The parts of a task that a `.litertlm` file contains.

    Attributes:
        model: a `CausalLM`.
        strategy: greedy search or sampling.
        tokenizers: of the inputs and of the outputs, which are one.
        max_prompt_length: maximum number of tokens of a prompt.
    """

    model: keras.Model
    strategy: Strategy | None
    tokenizers: Sequence[Tokenizer]
    max_prompt_length: int


def export_litert_lm(
    exportable: Exportable,
    language_model: LanguageModel,
    folder: str | Path,
    weights: str = "float32",
    references: Sequence | None = None,
    allow_loss: bool = False,
    prefill_lengths: Sequence[int] | None = None,
    cache_length: int | None = None,
) -> dict[str, Any]:
    """Writes `model.litertlm`, the tokenizer, `export.json` and `verification.json`.

    Greedy search with the functions of the file, run by LiteRT, must return what the model's greedy
    search returns, or, with weights of reduced precision, score nearly as well. LiteRT's
    `CompiledModel`, which LiteRT-LM uses, must return the same. The tokenizer of the file must
    return the ids of the task's.

    Args:
        exportable: what to export; it predicts with greedy search, and its only signature says how
            outputs are compared.
        language_model: model, strategy and tokenizers.
        folder: folder of the files; an earlier export of this format there is replaced once the new
            one is verified.
        weights: `"float32"`, `"float16"`, `"int8"` or `"int4"`; see
            `export.tflite.writer.export_tflite`.
        references: correct text for each of the user's samples, or several; `None` takes the
            model's own results, so that any differing result counts as an error.
        allow_loss: whether to write a file that loses more than 1 point out of 100.
        prefill_lengths: numbers of tokens of a prompt that are read at once; see `choose_lengths`.
        cache_length: maximum number of tokens of a text; see `choose_lengths`.

    Returns:
        The contents of `verification.json`, and `path`, the folder.

    Raises:
        ValueError: If LiteRT-LM cannot represent an option, which the error names with all others;
            if the lengths do not fit, the folder holds other files, or an argument is unknown.
        ExportError: If the model cannot be converted, or if the file disagrees with the task or
            loses quality, or the disk is full.
    """
    model, strategy = language_model.model, language_model.strategy
    check_supported(model, strategy, language_model.tokenizers)
    assert strategy is not None  # by `check_supported`
    check_one_of("weights", weights, WEIGHTS)
    is_exact = not PRECISIONS[weights].is_reduced
    check_references(exportable, references, is_exact)
    lengths = choose_lengths(
        language_model.max_prompt_length, strategy.max_new_tokens, prefill_lengths, cache_length
    )
    model.decoder.embedding.check_length(lengths.max_tokens - 1, "`cache_length`")
    folder = Path(folder).absolute()
    check_replaceable(folder, FILE)
    batches = sample_batches(exportable.samples)
    what = "A LiteRT-LM export"
    with explain_full_disk(what, folder, ExportError), replace_folder(folder) as new:
        shapes = {"prefill_lengths": list(lengths.prefill), "cache_length": lengths.max_tokens}
        about = {"export": "litert_lm", "format": EXPORT_FORMAT, "task": exportable.name}
        about |= {"weights": weights, **shapes, "max_new_tokens": strategy.max_new_tokens}
        write_json(
            new / "export.json", {**about, **exportable.save_assets(new), **exportable.metadata}
        )
        tokenizer = language_model.tokenizers[0]
        section = make_section(tokenizer)
        compare_tokenizers(section, tokenizer, exportable.samples)
        file = write_model(convert(list_functions(model.decoder, lengths), weights))
        metadata = describe(strategy, model.decoder.vocabulary_size, lengths.max_tokens)
        write_bundle(new / FILE, Bundle(file, section, metadata))
        del file  # as large as the written one
        runner = LiteRTLMRunner(new)
        if is_exact:
            results = {"agreement": _compare_exactly(exportable, runner, batches)}
        else:
            results = compare_quality(exportable, runner, references, allow_loss)
        compiled = LiteRTLMRunner(new, compiled=True)
        tolerance = PRECISIONS[weights].signature_tolerance
        results["compiled_model_agreement"] = compare_apis(exportable, runner, compiled, tolerance)
        latency = record_samples(exportable, runner, new)
        runtime = f"LiteRT {importlib.metadata.version('ai-edge-litert')}, built-in operations"
        contents = report("litert_lm", runtime, exportable, batches, latency, new)
        contents = {**contents, "weights": weights, **shapes, **results}
        contents = write_manifest(new / REPORT, contents)
    return {**contents, "path": str(folder)}


def _compare_exactly(exportable, runner, batches):
    """Returns the agreement of ids and log-probabilities with the model's."""
    (signature,) = exportable.signatures
    encoded = [exportable.encode(samples) for samples in batches]
    received = [
        signature.comparison.predictions(runner(batch.model_inputs), batch) for batch in encoded
    ]
    expected, _ = predictions_of_model(exportable, signature, encoded, received)
    return compare(expected, received, batches)
