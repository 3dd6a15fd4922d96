"""Reduced precision with TensorFlow's converter and with ai-edge-quantizer (4 and 16 bits)."""

import warnings
from collections.abc import Sequence
from itertools import chain
from typing import Any

import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from keras_attention.export.signatures import Signature
from keras_attention.export.tflite.calibration import Calibration
from keras_attention.export.tflite.embedding_lookup import replace_gathers
from keras_attention.export.tflite.flatbuffer import read_model, write_model
from keras_attention.export.tflite.versions import declare_int4_versions, declare_int16_versions
from keras_attention.utils.optional_imports import require_extra

LOOP_OPERATIONS = {"While", "StatelessWhile"}


def configure_converter(
    converter: tf.lite.TFLiteConverter, weights: str, calibration: Calibration
) -> None:
    """Sets the precision of TensorFlow's converter.

    Args:
        converter: the converter to configure.
        weights: one of `tolerances.PRECISIONS`. `"float16"`, `"int8"` and `"full_int8"` are the
            converter's; for the others it writes float32.
        calibration: inputs of the signatures; the activations of `"full_int8"` get the ranges that
            occur there.
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
            (name, each) for name, inputs in calibration.items() for each in inputs
        )


def quantize_to_int4(file: bytes) -> schema.ModelT:
    """Quantizes the weights of dense layers and embeddings to 4 bits, with a scale for each row.

    Args:
        file: contents of a TFLite file in float32.

    Raises:
        ImportError: If the extra `int4` is not installed.
    """
    require_extra("int4", "weights='int4'")
    from ai_edge_quantizer import recipe

    model = _quantize(file, recipe.dynamic_wi4_afp32())
    declare_int4_versions(model)
    return model


def quantize_to_int16(file: bytes, calibration: Calibration) -> schema.ModelT:
    """Quantizes activations to 16 bits, with a scale for each tensor, and weights to 8 bits.

    Inputs and outputs of the signatures stay in float32. TensorFlow's converter, which can do this
    too, refuses graphs with masks of integers.

    Args:
        file: contents of a TFLite file in float32.
        calibration: inputs of the signatures; the activations get the ranges that occur there.

    Raises:
        ImportError: If the extra `int4` is not installed.
    """
    require_extra("int4", "weights='full_int16'")
    from ai_edge_quantizer import algorithm_manager, qtyping, recipe, recipe_manager

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe.static_wi8_ai16())
    operation = qtyping.TFLOperationName
    for name in (operation.INPUT, operation.OUTPUT):
        manager.add_quantization_config(
            ".*", name, algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE
        )
    # Reads the same table as a tied output layer.
    manager.add_dynamic_config(".*", operation.EMBEDDING_LOOKUP, num_bits=8)
    model = _quantize(file, manager.get_quantization_recipe(), calibration)
    declare_int16_versions(model)
    return model


def _quantize(file: bytes, recipe: Any, calibration: Calibration | None = None) -> schema.ModelT:
    from ai_edge_quantizer import quantizer

    model = read_model(file)
    replace_gathers(model)
    file = write_model(model)
    ranges = None if calibration is None else _ranges(file, recipe, calibration)
    with warnings.catch_warnings():
        # of the interpreter that `quantize` itself makes
        warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors", UserWarning)
        result = quantizer.Quantizer(bytearray(file), recipe).quantize(ranges)
    return read_model(bytes(result.quantized_model))


def _ranges(file, recipe, calibration):
    """Returns the ranges of activations: their smallest and greatest values.

    `Quantizer.calibrate` takes moving averages of the two, outside of which values are clipped.
    """
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    mode = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED
    engine = calibrator.Calibrator(file, 1, mode, qsv_utils.min_max_update)
    engine.calibrate(calibration, manager)
    return engine.get_model_qsvs()


def has_loop(signatures: Sequence[Signature]) -> bool:
    """Returns True if the graph of a signature has a loop, as generation and RNNs do."""
    return any(map(_has_loop, signatures))


def _has_loop(signature: Signature) -> bool:
    spec = [signature.input_spec]
    traced = tf.function(signature.function, input_signature=spec, autograph=False)
    graph = traced.get_concrete_function().graph.as_graph_def()
    nodes = chain(graph.node, *(each.node_def for each in graph.library.function))
    return any(node.op in LOOP_OPERATIONS for node in nodes)
