"""From text to answers as a SavedModel, in TF Serving's layout."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_attention.export import option_signatures as options
from keras_attention.export.saved_model import serving_files
from keras_attention.export.saved_model import verify as prove_saved_model
from keras_attention.export.saved_model.verify import IDS
from keras_attention.export.saved_model.versions import new_version
from keras_attention.export.texts import FORMAT
from keras_attention.export.verification import compare as proof
from keras_attention.export.verification.samples import write_trials
from keras_attention.utils.atomic_io import write_json

EXTRA = "assets.extra"  # files beside the model, which TF Serving leaves alone but for its warm-up


def export_saved_model(
    task: Any,
    folder: str | Path,
    sentences: Sequence[str] | None = None,
    tokenizer: bool = True,
) -> dict:
    """Writes the next version of a SavedModel: `folder/1/`, `folder/2/` and so on.

    `serving_default` and `details` take `text` `(batch,)`, or for a captioner `image_bytes`
    `(batch,)`, the bytes of JPEG or PNG files. What they give, by the kind of task:

    | signature | text to text |
    | --- | --- |
    | `serving_default` | `text` and `score` `(batch,)`: the best answer |
    | `details` | `text` and `score` `(batch, n)`, `source_tokens` `(batch, source)`, `target_tokens` `(batch, n, length)` and `attention` `(batch, n, length, source)` |

    | signature | image to text |
    | --- | --- |
    | `serving_default` | `text` and `score` `(batch,)`: the best answer |
    | `details` | `text` and `score` `(batch, n)`, `target_tokens` `(batch, n, length)` and `attention` `(batch, n, length, rows, columns)` |

    | signature | text to a label |
    | --- | --- |
    | `serving_default` | `label` and `probability` `(batch,)`: the most probable one |
    | `details` | `label` and `probability` `(batch, labels)`, sorted, and `source_tokens` `(batch, source)` |

    | signature | text to tags |
    | --- | --- |
    | `serving_default` | `word`, `tag` and `probability` `(batch, words)` |
    | `details` | `source_tokens` and bool `begins_word` `(batch, source)`; `tag` and `probability` `(batch, source, tags)`, sorted |

    | signature | what generates, with options |
    | --- | --- |
    | `with_options` | `text` and `score` `(batch, n)` |

    `with_options` also takes, each `(batch,)` and each optional, `max_new_tokens` int32; of `BeamSearch` and
    `FullBeam` `num_beams` int32, from `num_return_sequences` to the strategy's own; of `Sampling` `temperature` float32
    and `seed` int32. A row's answer is that of a strategy with these options.

    Tokens are strings, padded with empty ones. Beside them `ids`, and `ids_details` and
    `ids_with_options` where there is more, take `source` and give what a TFLite file's signatures give (see `export_tflite`):
    the model without its tokenizers, of TensorFlow's own operations alone. `assets.extra/` has the
    tokenizers' files, `export.json` that describes them, and TF Serving's warm-up.

    The version is written and proven under another name and renamed when all is well: TF Serving
    never sees half of it. The base path gets `serving.md`, which says how to start TF Serving and
    ask it, and `model.config` and `batching.config` where there are none yet.

    Args:
        task: one of `keras_attention.tasks`.
        folder: TF Serving's base path. Versions in it stay.
        sentences: what to prove it on, texts or images; None makes some.
        tokenizer: False writes the signatures on ids alone, for a server that has not linked
            tensorflow-text's operations; `serving_default` is then `ids`.

    Returns:
        What `proof.json` in the version's folder says, and `path`, the version's folder.

    Raises:
        ValueError: if the backend is not TensorFlow, there is no sentence, or the folder is a
            file or a saved task's.
        ExportError: if the SavedModel, run by TensorFlow's C API, does not say what the model says,
            or there is no room for it.
    """  # noqa: E501
    check_backend()
    folder = Path(folder).absolute()
    trials = task.trials(sentences)
    batches = proof.batches_of(trials)
    weights = [weight.value for weight in task.model.weights]
    needed = sum(weight.dtype.size * weight.shape.num_elements() for weight in weights)
    with new_version(folder, needed) as (version, finish):
        write_saved_model(task, version, tokenizer)
        extra = version / EXTRA
        extra.mkdir()
        said = {"export": "saved_model", "format": FORMAT, "gives": task.gives}
        write_json(extra / "export.json", {**said, **task.write_parts(extra), **task.about()})
        expected, model_time = proof.run_ids(task, batches)
        received = prove_saved_model.run(task, version, batches, tokenizer)
        agreement = ids_agreement = proof.compare(expected, received.ids, batches)
        if tokenizer:
            agreement = proof.compare(expected, received.texts, batches)
        outputs, signature = received.ids, IDS[list(task.graphs())[-1]]
        if tokenizer:
            outputs, signature = received.texts, "details"
        write_trials(task, version, trials, outputs, signature)
        name = serving_files.model_name(folder)
        serving_files.write_files(task, version, version.parent, name, batches[0], received)
        said = proof.report(
            "saved_model",
            f"TensorFlow's C API {'with' if tokenizer else 'without'} tensorflow-text's operations",
            task,
            batches,
            agreement,
            {"model": model_time, "export": received.milliseconds},
            version,
        )
        said["ids_agreement"] = ids_agreement
        said["tensorflow_text_operations"] = received.operations
        write_json(version / "proof.json", said)
        return {**said, "path": str(finish())}


def check_backend() -> None:
    """Raises a `ValueError` unless Keras runs on TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Expected Keras on TensorFlow, which writes the exports: load the saved task with "
            f"KERAS_BACKEND=tensorflow. Received: KERAS_BACKEND={keras.backend.backend()}"
        )


def write_saved_model(task: Any, folder: Path, tokenizer: bool = True) -> None:
    """Traces the signatures and writes them."""
    archive = keras.export.ExportArchive()
    # The weights are tracked by their use in the endpoints; tracking the model writes them twice.
    spec = [task.source_spec()]
    graphs = {
        name: archive.add_endpoint(IDS[name], graph.__call__, input_signature=spec)
        for name, graph in task.graphs().items()
    }
    if tokenizer:
        for each in task.tokenizers().values():
            archive.track(each)
        for name, endpoint in task.served(graphs).items():  # which call the graphs just traced
            archive.add_endpoint(name, endpoint, input_signature=[task.served_spec()])
    optional = options.add_endpoints(archive, task, tokenizer)
    archive.write_out(str(folder), verbose=False)
    options.write_defaults(folder, task, optional)
