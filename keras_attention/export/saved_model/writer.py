"""Writer of SavedModels, in the folder layout of TF Serving."""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_attention.export.saved_model import serving_files
from keras_attention.export.saved_model.verify import verify_saved_model
from keras_attention.export.saved_model.versions import (
    BASE_DIGESTS,
    EXTRA,
    base_digests,
    new_version,
)
from keras_attention.export.signatures import Exportable, save_signatures
from keras_attention.export.verification.compare import sample_batches
from keras_attention.export.verification.report import EXPORT_FORMAT, REPORT, report
from keras_attention.export.verification.samples import MAX_SAMPLES, write_samples
from keras_attention.utils.atomic_io import write_json
from keras_attention.utils.manifest import write_manifest


def export_saved_model(exportable: Exportable, folder: str | Path) -> dict[str, Any]:
    """Writes the next version of a SavedModel, `folder/1/`, `folder/2/` and so on, and verifies it.

    A version has the signatures of `exportable`. `assets.extra/` has the tokenizers' files,
    `export.json`, which describes the export, and TF Serving's warm-up requests.

    The version is written and verified under another name, and renamed on success: TF Serving
    never sees a part of it. The base path gets `serving.md`, which explains how to start TF Serving
    and send requests, and `model.config` and `batching.config` unless they exist.

    Args:
        exportable: what to export.
        folder: TF Serving's base path. Earlier versions in it stay.

    Returns:
        The contents of `verification.json` in the folder of the version, and `path`, that folder.

    Raises:
        ValueError: If the backend is not TensorFlow, or the folder is a file or a saved task.
        ExportError: If the SavedModel, run through TensorFlow's C API, disagrees with the model,
            or the disk is full.
    """
    check_backend()
    folder = Path(folder).absolute()
    batches = sample_batches(exportable.samples)
    with new_version(folder, exportable.num_bytes) as (version, finish):
        write_saved_model(exportable, version)
        verified = verify_saved_model(exportable, version, batches)
        agreements = list(
            verified.agreement.values()
        )  # of ids, then of raw inputs if there are any
        recorded = next(x for x in exportable.signatures if x.comparison.predictions)
        first = exportable.first_recorded
        # Indices of samples, and of their batches, which begin with those of one sample.
        chosen = slice(first, min(first + MAX_SAMPLES, len(exportable.samples)))
        inputs = [
            exportable.inputs(recorded, exportable.compact(samples), exportable.encode(samples))
            for samples in batches[chosen]
        ]
        outputs = [each[recorded.name] for each in verified.outputs[chosen]]
        write_samples(version, recorded, exportable.samples[chosen], inputs, outputs)
        name = serving_files.model_name(folder)
        example = batches[first], verified.outputs[first]
        serving_files.write_files(exportable, version, name, *example, verified)
        uses_text = any(each.text_operations for each in exportable.signatures)
        contents = report(
            "saved_model",
            f"TensorFlow's C API {'with' if uses_text else 'without'} TensorFlow Text's operations",
            exportable,
            batches,
            verified.latency,
            version,
        )
        contents["agreement"] = agreements[-1]
        contents["ids_agreement"] = agreements[0]
        contents["tensorflow_text_operations"] = verified.operations
        contents[BASE_DIGESTS] = base_digests(version.parent, folder)
        contents = write_manifest(version / REPORT, contents)
        return {**contents, "path": str(finish())}


def check_backend() -> None:
    """Raises a `ValueError` unless Keras uses TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Exports need Keras with TensorFlow: load the saved task with "
            f"KERAS_BACKEND=tensorflow. Received: KERAS_BACKEND={keras.backend.backend()}"
        )


def write_saved_model(exportable: Exportable, folder: Path) -> None:
    """Traces the signatures and writes them, with the files of the tokenizers."""
    save_signatures(exportable.signatures, folder)
    write_defaults(exportable, folder)
    extra = folder / EXTRA
    extra.mkdir()
    about = {"export": "saved_model", "format": EXPORT_FORMAT, "task": exportable.name}
    assets = exportable.save_assets(extra)
    write_json(extra / "export.json", {**about, **assets, **exportable.metadata})


def write_defaults(exportable: Exportable, version: Path) -> None:
    """Makes inputs with default values optional in the way that TF Serving supports.

    A request that lacks one gets it as `(1,)`, which holds for all rows.

    Args:
        exportable: has the signatures and their defaults.
        version: folder of the SavedModel.
    """
    path = version / "saved_model.pb"
    saved = SavedModel.FromString(path.read_bytes())
    (graph,) = saved.meta_graphs
    for signature in exportable.signatures:
        for name, default in (signature.defaults(1) if signature.defaults else {}).items():
            tensor = graph.signature_def[signature.name].defaults[name]
            tensor.dtype = tf.as_dtype(default.dtype).as_datatype_enum
            tensor.tensor_shape.dim.add(size=1)
            tensor.tensor_content = default.tobytes()
    path.write_bytes(saved.SerializeToString())
