"""Writer of CTranslate2 models, and the tokenizers next to them."""

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_attention.export.ctranslate2.runner import FILE, CTranslate2Runner
from keras_attention.export.ctranslate2.specification import make_specification
from keras_attention.export.ctranslate2.unsupported import check_supported
from keras_attention.export.signatures import Exportable
from keras_attention.export.verification.compare import (
    ExportError,
    compare,
    sample_batches,
)
from keras_attention.export.verification.quality import check_references, compare_quality
from keras_attention.export.verification.report import EXPORT_FORMAT, REPORT, report
from keras_attention.export.verification.samples import record_samples
from keras_attention.generation import GreedySearch, Strategy
from keras_attention.models import CausalLM
from keras_attention.types import Batch
from keras_attention.utils.atomic_io import check_replaceable, replace_folder, write_json
from keras_attention.utils.full_disk import explain_full_disk
from keras_attention.utils.manifest import write_manifest

WEIGHTS = ("float32", "float16", "int8")
MIN_POSITIONS = 512  # in a table of sinusoids, for those who run the model with other limits


@dataclasses.dataclass(frozen=True)
class Generation:
    """Model and strategy of a task, with vocabularies: the contents of a CTranslate2 model.

    Attributes:
        model: an `EncoderDecoder` or a `CausalLM`.
        strategy: the search.
        vocabularies: the tokens in the order of their ids, of source and target, or of a language
            model.
        max_input_length: maximum number of ids of an input.
    """

    model: keras.Model
    strategy: Strategy | None
    vocabularies: Sequence[list[str]]
    max_input_length: int


def export_ctranslate2(
    exportable: Exportable,
    generation: Generation,
    folder: str | Path,
    weights: str = "float32",
    references: Sequence | None = None,
    allow_loss: bool = False,
) -> dict[str, Any]:
    """Writes a CTranslate2 model, the tokenizers, `export.json` and `verification.json`.

    | `weights` | precision |
    | --- | --- |
    | `"float32"` | the model's |
    | `"int8"` | matrices in 8 bits, with a scale for each row; the choice for CPUs |
    | `"float16"` | half the size; float32 is computed on a CPU |

    With greedy search a model of float32 must return what the Keras model returns: equal ids, and
    log-probabilities that are close. CTranslate2's beam search is another one than this library's,
    and reduced precision changes results: both are scored, as a TFLite file of reduced precision
    is.

    Args:
        exportable: what to export; its only signature says how outputs are compared.
        generation: model, strategy and vocabularies.
        folder: folder of the files; an earlier CTranslate2 export there is replaced once the new
            one is verified.
        weights: precision.
        references: correct text for each of the user's samples, or several; `None` takes the
            model's own results, so that any differing result counts as an error.
        allow_loss: whether to write a model that loses more than 1 point out of 100.

    Returns:
        The contents of `verification.json`, and `path`, the folder.

    Raises:
        ValueError: If CTranslate2 cannot represent an option, which the error names with all
            others; if the folder holds other files, or an argument is unknown.
        ExportError: If the model disagrees or loses quality, or the disk is full.
    """
    check_supported(generation.model, generation.strategy, generation.vocabularies)
    is_exact = weights == "float32" and isinstance(generation.strategy, GreedySearch)
    if weights not in WEIGHTS:
        raise ValueError(f"`weights` must be one of {WEIGHTS}. Received: weights={weights!r}")
    check_references(exportable, references, is_exact)
    folder = Path(folder).absolute()
    check_replaceable(folder, FILE)
    exportable, references = without_empty_sources(exportable, generation, references)
    batches = sample_batches(exportable.samples)
    what = "A CTranslate2 export"
    with explain_full_disk(what, folder, ExportError), replace_folder(folder) as new:
        write_model(generation, new, weights)
        about = {"export": "ctranslate2", "format": EXPORT_FORMAT, "task": exportable.name}
        search = keras.saving.serialize_keras_object(generation.strategy)
        about = {**about, "weights": weights, "search": search}
        about = {**about, **exportable.save_assets(new), **exportable.metadata}
        write_json(new / "export.json", about)
        runner = CTranslate2Runner(new)
        if is_exact:
            encoded = [exportable.encode(batch) for batch in batches]
            results = {"agreement": compare_exactly(exportable, runner, batches, encoded)}
        else:
            results = compare_quality(exportable, runner, references, allow_loss)
        latency = record_samples(exportable, runner, new)
        runtime = f"CTranslate2 {importlib.metadata.version('ctranslate2')}"
        contents = report("ctranslate2", runtime, exportable, batches, latency, new)
        contents = {**contents, "weights": weights, **results}
        contents = write_manifest(new / REPORT, contents)
    return {**contents, "path": str(folder)}


def without_empty_sources(
    exportable: Exportable, generation: Generation, references: Sequence | None
) -> tuple[Exportable, Sequence | None]:
    """Leaves out empty samples of a translator, whose translation in CTranslate2 is empty, too."""
    samples = exportable.samples
    chosen = [
        i
        for i, sample in enumerate(samples)
        if isinstance(generation.model, CausalLM)
        or exportable.encode([sample]).model_inputs.shape[1] > 1  # more than END
    ]
    if references is not None:
        references = [references[i] for i in chosen if i < exportable.num_samples]
    remaining = dataclasses.replace(
        exportable,
        samples=[samples[i] for i in chosen],
        num_samples=sum(i < exportable.num_samples for i in chosen),
        first_recorded=sum(i < exportable.first_recorded for i in chosen),
    )
    return remaining, references


def write_model(generation: Generation, folder: Path, weights: str = "float32") -> None:
    """Writes `model.bin`, `config.json` and the vocabularies: what CTranslate2 reads."""
    strategy = generation.strategy
    assert strategy is not None  # by `check_supported`
    # START, the input, and what is generated, of a language model in one sequence
    num_positions = 1 + generation.max_input_length + strategy.max_new_tokens
    spec = make_specification(
        generation.model, generation.vocabularies, max(MIN_POSITIONS, num_positions)
    )
    spec.validate()
    spec.optimize(quantization=weights)
    spec.save(str(folder))


def compare_exactly(
    exportable: Exportable,
    runner: CTranslate2Runner,
    batches: Sequence[list],
    encoded: Sequence[Batch],
) -> dict[str, Any]:
    """Compares ids, log-probabilities and attention weights with the model's.

    CTranslate2 normalizes the log-probabilities of a search among the tokens that may be generated;
    those that are compared are computed once more, among all tokens, as the model's.

    Args:
        exportable: has the model and the comparison.
        runner: of the exported model.
        batches: samples.
        encoded: the same, preprocessed.

    Returns:
        The agreement, see `verification.compare.compare`.

    Raises:
        ExportError: If they do not agree.
    """
    to_predictions = exportable.signatures[0].comparison.predictions
    assert to_predictions is not None
    # CTranslate2 has no weights of language models, nor of an END that was not its own choice.
    details = not (runner.is_language_model or runner.strategy.force_end)
    expected, received = [], []
    for batch in encoded:
        inputs = batch.model_inputs
        expected.append(to_predictions(exportable.predict(inputs, details=details), batch))
        outputs = runner(inputs, details=details)
        scores = runner.score(inputs, outputs["ids"][:, 0])[:, None]
        received.append(to_predictions({**outputs, "scores": scores}, batch))
    return compare(expected, received, batches)
