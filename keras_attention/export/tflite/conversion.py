"""Conversion of signatures to the contents of a TFLite file."""

import tempfile
from collections.abc import Sequence

import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from keras_attention.export.signatures import Signature, has_static_shapes, save_signatures
from keras_attention.export.tflite.calibration import Calibration, calibration_inputs
from keras_attention.export.tflite.flatbuffer import read_model
from keras_attention.export.tflite.log_softmax import expand_log_softmax
from keras_attention.export.tflite.matmul import transpose_factors
from keras_attention.export.tflite.quantization import (
    configure_converter,
    has_loop,
    quantize_to_int4,
    quantize_to_int16,
)
from keras_attention.export.tflite.xnnpack import compute_shapes
from keras_attention.export.verification.compare import ExportError
from keras_attention.export.verification.tolerances import PRECISIONS
from keras_attention.ops import masks
from keras_attention.ops.fused import explicit_scope
from keras_attention.ops.kv_cache import transposed_factors_scope
from keras_attention.types import Batch
from keras_attention.utils.validation import check_one_of


def convert(
    signatures: Sequence[Signature],
    weights: str = "float32",
    batches: Sequence[Batch] = (),
) -> schema.ModelT:
    """Returns the contents of the TFLite file.

    Args:
        signatures: functions of the file.
        weights: one of `tolerances.PRECISIONS`.
        batches: preprocessed samples, from which `"full_int8"` and `"full_int16"` take the ranges
            of activations.

    Raises:
        ExportError: If an operation is not one of TFLite's own.
    """
    precision = PRECISIONS[weights]
    with tempfile.TemporaryDirectory() as scratch:
        with (
            masks.mask_value_scope(precision.mask_value),
            explicit_scope(True),
            transposed_factors_scope(),
        ):  # traced here
            save_signatures(signatures, scratch)
            calibration: Calibration = {}
            if precision.has_integer_activations:
                calibration = calibration_inputs(signatures, batches)
        names = [signature.name for signature in signatures]
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch, signature_keys=names)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        # Without this, an operation that TFLite lacks fails in the conversion, not when it is run.
        converter.allow_custom_ops = any(each.text_operations for each in signatures)
        configure_converter(converter, weights, calibration)
        try:
            file = converter.convert()
        except Exception as error:  # the converter has no public class of errors
            raise ExportError(
                f"The model must convert to TFLite's built-in operations. Received: {error}"
            ) from error
    if weights == "int4":
        model = quantize_to_int4(file)
    elif weights == "full_int16":
        model = quantize_to_int16(file, calibration)
    else:
        model = read_model(file)
    transpose_factors(model)
    expand_log_softmax(model)
    # Integer accelerators and `CompiledModel` need the shapes in the file.
    if not (precision.has_integer_activations or has_static_shapes(signatures)):
        compute_shapes(model)
    return model


def check_weights(weights: str, signatures: Sequence[Signature], name: str) -> None:
    """Raises a `ValueError` unless a precision is known and suits the signatures.

    Args:
        weights: precision.
        signatures: of the file.
        name: name of the exported class, for the error.
    """
    check_one_of("weights", weights, sorted(PRECISIONS))
    precision = PRECISIONS[weights]
    if not precision.has_integer_activations:
        return
    with masks.mask_value_scope(precision.mask_value), explicit_scope(True):
        # traced here
        if has_loop(signatures):
            raise ValueError(
                f"`weights` must not be {weights!r} for signatures with a loop, such as generation "
                "or an RNN: TFLite takes the ranges of activations only outside of loops, and the "
                "file would return wrong results. Transformers have no loop with "
                f"format='tflite_steps'. Received: weights={weights!r} for a {name}"
            )
