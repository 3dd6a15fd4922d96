"""A signature whose requests say how to generate: a limit, a beam's width, a sample's seed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_attention.export.verification.compare import check_same

WITH_OPTIONS, IDS_WITH_OPTIONS = "with_options", "ids_with_options"


def add_ids(archive: keras.export.ExportArchive, name: str, task: Any) -> Callable:
    """Adds a signature that takes options, and returns what it runs.

    It takes `source` and, each `(batch,)`, the strategy's `options()` by name, and gives `ids` and
    `scores`.

    Args:
        archive: gets it.
        name: of the signature.
        task: of a kind that generates.
    """
    generator = task.graphs()["serving_default"]

    def generate(given):
        given = dict(given)
        return generator(given.pop("source"), given)

    return archive.add_endpoint(name, generate, input_signature=[_spec(task, task.source_spec())])


def add_endpoints(archive: keras.export.ExportArchive, task: Any, tokenizer: bool) -> list[str]:
    """Adds a SavedModel's signatures that take options, and returns their names.

    Args:
        archive: gets them.
        task: what is exported; if it is of a kind that does not generate there are none.
        tokenizer: whether one takes what the task's own signatures take, too.
    """
    if not hasattr(task, "strategy"):
        return []
    run = add_ids(archive, IDS_WITH_OPTIONS, task)
    if not tokenizer:
        return [IDS_WITH_OPTIONS]

    def serve(given):
        given = dict(given)
        source = task.encode_served(given.pop(task.served_input))
        found = run({"source": source, **given})
        return {"text": task.written(source, found["ids"]), "score": found["scores"]}

    archive.add_endpoint(WITH_OPTIONS, serve, input_signature=[_spec(task, task.served_spec())])
    return [IDS_WITH_OPTIONS, WITH_OPTIONS]


def check_options(task: Any, call: Callable, batches: Sequence[list], tolerance: float) -> None:
    """Raises an `ExportError` unless the strategy's own options make no difference.

    Args:
        task: what was exported.
        call: `call(signature, source, **options)`.
        batches: what it reads.
        tolerance: relative, of scores.
    """
    for texts in batches:
        source = task.encode(texts)
        options = task.strategy.options(len(source))
        received, expected = call(WITH_OPTIONS, source, **options), call("serving_default", source)
        check_same(
            received, expected, tolerance, f"{WITH_OPTIONS} to say what serving_default says"
        )


def _spec(task, given):
    options = task.strategy.options().items()
    return {
        given.name: given,
        **{name: tf.TensorSpec((None,), x.dtype, name=name) for name, x in options},
    }


def write_defaults(version: Path, task: Any, signatures: Sequence[str]) -> None:
    """Makes the options of a SavedModel's signatures optional, as TF Serving knows it.

    A request without one of them gets it as `(1,)`, which stands for all rows.

    Args:
        version: the folder of the SavedModel.
        task: what was exported.
        signatures: from `add_endpoints`.
    """
    path = version / "saved_model.pb"
    saved = SavedModel.FromString(path.read_bytes())
    (graph,) = saved.meta_graphs
    for name in signatures:
        for option, default in task.strategy.options().items():
            tensor = graph.signature_def[name].defaults[option]
            tensor.dtype = tf.as_dtype(default.dtype).as_datatype_enum
            tensor.tensor_shape.dim.add(size=1)
            tensor.tensor_content = default.tobytes()
    path.write_bytes(saved.SerializeToString())
