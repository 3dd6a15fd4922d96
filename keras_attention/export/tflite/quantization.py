"""How weights, and activations, become numbers of fewer bits in a TFLite file."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import tensorflow as tf

LOOPS = {"While", "StatelessWhile"}


def settings(
    converter: tf.lite.TFLiteConverter,
    weights: str,
    task: Any,
    signatures: list[str],
    batches: Sequence[list],
) -> None:
    """Tells TensorFlow's converter how weights are kept.

    Args:
        converter: is told.
        weights: one of `tolerances.WEIGHTS`.
        task: encodes the batches.
        signatures: the names of the file's.
        batches: from which `"full_int8"` takes the ranges of activations.
    """
    if weights not in ("float16", "int8", "full_int8"):
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif weights == "int8":
        # One scale for a matrix. With one for each row, tied embeddings are written twice, once to
        # be gathered and once to be multiplied with, and the scales again for every signature.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    else:
        dtype = task.source_spec().dtype.as_numpy_dtype
        sources = [task.encode(texts).astype(dtype) for texts in batches]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: (
            (name, {"source": source}) for name in signatures for source in sources
        )


def has_loop(task: Any) -> bool:
    """Whether a graph of the task loops, as generation does, and RNNs."""
    return any(_loops(graph, task.source_spec()) for graph in task.graphs().values())


def _loops(graph, spec):
    function = tf.function(graph.__call__, [spec], autograph=False).get_concrete_function()
    traced = function.graph.as_graph_def()
    nodes = chain(traced.node, *(each.node_def for each in traced.library.function))
    return any(node.op in LOOPS for node in nodes)
