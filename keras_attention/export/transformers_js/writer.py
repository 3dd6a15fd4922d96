"""Writer of the folder that transformers.js and Optimum load."""

import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import onnx
from tokenizers import Tokenizer as FastTokenizer

from keras_attention.export.onnx.writer import verify_and_record
from keras_attention.export.signatures import Exportable
from keras_attention.export.transformers_js.config_files import (
    write_language_model_config,
    write_translator_config,
)
from keras_attention.export.transformers_js.graphs import convert_decoder, convert_encoder
from keras_attention.export.transformers_js.language_model_graph import convert_language_model
from keras_attention.export.transformers_js.layout import (
    DECODER,
    ENCODER,
    LANGUAGE_MODEL,
    MARKERS,
    graph_file,
)
from keras_attention.export.transformers_js.precision import CONVERSIONS, reduce_precision
from keras_attention.export.transformers_js.runner import TransformersJSRunner
from keras_attention.export.transformers_js.tokenizer_json import (
    JointTokenizer,
    join_tokenizers,
    prompt_tokenizer,
)
from keras_attention.export.transformers_js.unsupported import check_supported
from keras_attention.export.verification.compare import ExportError, sample_batches
from keras_attention.export.verification.quality import check_references, compare_quality
from keras_attention.export.verification.report import EXPORT_FORMAT, REPORT, report
from keras_attention.export.verification.samples import record_samples
from keras_attention.export.verification.tolerances import PRECISIONS
from keras_attention.generation import Strategy
from keras_attention.models import CausalLM
from keras_attention.ops.ids import START, UNKNOWN
from keras_attention.text import Tokenizer
from keras_attention.utils.atomic_io import check_replaceable, replace_folder, write_json
from keras_attention.utils.full_disk import explain_full_disk
from keras_attention.utils.manifest import write_manifest
from keras_attention.utils.validation import check_one_of

ROW = 32  # tokens that are decoded at once


def export_transformers_js(
    exportable: Exportable,
    model: keras.Model,
    strategy: Strategy | None,
    tokenizers: Sequence[Tokenizer],
    folder: str | Path,
    weights: str = "float32",
    references: Sequence | None = None,
    allow_loss: bool = False,
) -> dict[str, Any]:
    """Writes the graphs, `tokenizer.json`, the configurations and `verification.json`.

    Greedy search with the graphs in ONNX Runtime must return what the model returns, or, with
    weights of reduced precision, score nearly as well. `tokenizer.json` must return the ids and
    texts of the task's tokenizers.

    Args:
        exportable: what to export; its only signature says how outputs are compared.
        model: the model.
        strategy: the search.
        tokenizers: of the inputs and of the outputs.
        folder: folder of the files; an earlier export of this format there is replaced once the new
            one is verified.
        weights: `"float32"`, `"float16"` or `"int8"`.
        references: correct text for each of the user's samples, or several; `None` takes the
            model's own results, so that any differing result counts as an error.
        allow_loss: whether to write files that lose more than 1 point out of 100.

    Returns:
        The contents of `verification.json`, and `path`, the folder.

    Raises:
        ValueError: If the format cannot represent an option, which the error names with all others,
            the folder holds other files, or an argument is unknown.
        ExportError: If the model cannot be converted, or if graphs or tokenizer disagree with the
            task or lose quality, or the disk is full.
    """
    check_supported(model, strategy, tokenizers)
    check_one_of("weights", weights, tuple(CONVERSIONS))
    is_exact = not PRECISIONS[weights].is_reduced
    check_references(exportable, references, is_exact)
    assert strategy is not None  # by `check_supported`
    folder = Path(folder).absolute()
    check_replaceable(folder, *MARKERS)
    write = _write_language_model if isinstance(model, CausalLM) else _write_translator
    what = "A transformers.js export"
    with explain_full_disk(what, folder, ExportError), replace_folder(folder) as new:
        about: dict[str, Any] = {"export": "transformers_js", "format": EXPORT_FORMAT}
        about |= {"task": exportable.name, "weights": weights}
        about |= {**exportable.save_assets(new), **exportable.metadata}
        (new / "onnx").mkdir()
        write(new, about, exportable, model, strategy, tokenizers)
        runner = TransformersJSRunner(new)
        if is_exact:
            contents = verify_and_record(exportable, runner, new, "transformers_js")
        else:
            results = compare_quality(
                exportable, runner, references, allow_loss, rows_are_independent=False
            )
            contents = _record(exportable, runner, new, {"weights": weights, **results})
    return {**contents, "path": str(folder)}


def _record(exportable, runner, folder, results):
    """Writes `samples.json` and `verification.json` of an export of reduced precision."""
    latency = record_samples(exportable, runner, folder)
    runtime = f"ONNX Runtime {importlib.metadata.version('onnxruntime')}"
    batches = sample_batches(exportable.samples)
    contents = report("transformers_js", runtime, exportable, batches, latency, folder)
    return write_manifest(folder / REPORT, {**contents, **results})


def _save(model, folder, name, weights):
    onnx.save(reduce_precision(model, weights), folder / graph_file(name, weights))


def _write_translator(folder, about, exportable, model, strategy, tokenizers):
    """Writes the files of a translator, but for those of the verification."""
    joint = join_tokenizers(*tokenizers)
    write_json(folder / "export.json", {**about, "source_offset": joint.offset})
    write_json(folder / "tokenizer.json", joint.contents)
    max_length = about["max_source_length"]
    write_translator_config(folder, model, strategy, max_length, about["weights"])
    compare_tokenizers(joint, exportable, tokenizers[-1], max_length)
    num_bytes = exportable.num_bytes
    encoder = convert_encoder(model, joint.source_ids, num_bytes)
    _save(encoder, folder, ENCODER, about["weights"])
    _save(convert_decoder(model, num_bytes), folder, DECODER, about["weights"])


def _write_language_model(folder, about, exportable, model, strategy, tokenizers):
    """Writes the files of a language model, but for those of the verification."""
    tokenizer = tokenizers[0]  # reads the same one before and after the model
    contents = prompt_tokenizer(tokenizer)
    write_json(folder / "export.json", about)
    write_json(folder / "tokenizer.json", contents)
    write_language_model_config(folder, model.decoder, strategy, about["weights"])
    compare_prompt_tokenizer(contents, exportable.samples, tokenizer)
    converted = convert_language_model(model.decoder, exportable.num_bytes)
    _save(converted, folder, LANGUAGE_MODEL, about["weights"])


def compare_tokenizers(
    joint: JointTokenizer, exportable: Exportable, target: Tokenizer, max_length: int
) -> None:
    """Compares `tokenizer.json` with the task's tokenizers.

    The ids of each sample and the text of each target token must be equal. A sample that spells a
    special token, a language code within the text, or an unknown code is not compared: Hugging
    Face's tokenizers find special tokens and codes anywhere, but no unknown ones.

    Args:
        joint: the tokenizer that is exported.
        exportable: has the samples and the source tokenizer.
        target: the target tokenizer.
        max_length: maximum number of ids of a source.

    Raises:
        ExportError: If ids or a text differ.
    """
    tokenizer = FastTokenizer.from_str(json.dumps(joint.contents))
    tokenizer.enable_truncation(max_length)
    added = _added_tokens(tokenizer)
    for text in exportable.samples:
        is_unknown_code = text.startswith(">>") and not text.startswith(added)
        if not is_unknown_code and not any(token in text[1:] for token in added):
            ids = [joint.source_ids[id] for id in tokenizer.encode(text).ids]
            _check_equal(text, ids, exportable.encode([text]).model_inputs[0].tolist())
    _compare_texts(tokenizer, target)


def compare_prompt_tokenizer(
    contents: dict[str, Any], samples: Sequence[str], expected: Tokenizer
) -> None:
    """Compares `tokenizer.json` of a language model with the task's tokenizer.

    The ids of each sample, after START, and the text of each token must be equal. A sample that
    spells a special token is not compared: Hugging Face's tokenizers find them in a text.

    Args:
        contents: of `tokenizer.json`.
        samples: texts.
        expected: the task's tokenizer.

    Raises:
        ExportError: If ids or a text differ.
    """
    tokenizer = FastTokenizer.from_str(json.dumps(contents))
    added = _added_tokens(tokenizer)
    for text in samples:
        if not any(token in text for token in added):
            (ids,) = expected.tokenize_to_lists([text])
            _check_equal(text, tokenizer.encode(text).ids, [START, *ids])
    _compare_texts(tokenizer, expected)


def _added_tokens(tokenizer):
    return tuple(token.content for token in tokenizer.get_added_tokens_decoder().values())


def _compare_texts(tokenizer, target):
    """Compares the texts of all tokens, some at once."""
    for start in range(UNKNOWN, target.vocabulary_size, ROW):
        row = list(range(start, min(start + ROW, target.vocabulary_size)))
        _check_equal(
            row, tokenizer.decode(row), target.detokenize([row]).numpy()[0].decode("utf-8")
        )


def _check_equal(sample, received, expected):
    if received != expected:
        raise ExportError(
            f"`tokenizer.json` must return what the task's tokenizers return for {sample!r}: "
            f"{expected!r}. Received: {received!r}"
        )
