"""Reduced precision with TensorFlow's converter: float16, int8 and full int8."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import tensorflow as tf

from keras_attention.export.signatures import Signature
from keras_attention.types import Batch

LOOP_OPERATIONS = {"While", "StatelessWhile"}


def configure_converter(
    converter: tf.lite.TFLiteConverter,
    weights: str,
    signatures: Sequence[Signature],
    batches: Sequence[Batch],
) -> None:
    """Sets the precision of TensorFlow's converter.

    Args:
        converter: the converter to configure.
        weights: one of `tolerances.PRECISIONS`.
        signatures: signatures of the file.
        batches: model inputs from which `"full_int8"` takes the ranges of activations.
    """
    if weights not in ("float16", "int8", "full_int8"):
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif weights == "int8":
        # One scale for each matrix. With one for each row, tied embeddings are written twice, once
        # to gather from and once to multiply with, and their scales again for every signature.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    else:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: (
            (
                signature.name,
                {name: _cast(batch, spec) for name, spec in signature.input_spec.items()},
            )
            for signature in signatures
            for batch in batches
        )


def _cast(batch: Batch, spec: tf.TensorSpec) -> np.ndarray:
    return batch.model_inputs.astype(spec.dtype.as_numpy_dtype)


def has_loop(signatures: Sequence[Signature]) -> bool:
    """Returns True if the graph of a signature has a loop, as generation and RNNs do."""
    return any(map(_has_loop, signatures))


def _has_loop(signature: Signature) -> bool:
    spec = [signature.input_spec]
    traced = tf.function(signature.function, input_signature=spec, autograph=False)
    graph = traced.get_concrete_function().graph.as_graph_def()
    nodes = chain(graph.node, *(each.node_def for each in graph.library.function))
    return any(node.op in LOOP_OPERATIONS for node in nodes)
