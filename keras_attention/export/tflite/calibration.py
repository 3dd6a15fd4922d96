"""Inputs of signatures from which a quantizer takes the ranges of activations."""

from collections.abc import Sequence

import numpy as np

from keras_attention.export.signatures import Signature, trace_once
from keras_attention.types import Batch

MAX_CALLS = 200  # of a signature; a step of decoding has the caches among its inputs

Calibration = dict[str, list[dict[str, np.ndarray]]]


def calibration_inputs(signatures: Sequence[Signature], batches: Sequence[Batch]) -> Calibration:
    """Returns inputs of each signature.

    Signatures take the model inputs. Those that are run together, such as `encode` and `decode`,
    are run in float32, and some of their inputs are chosen at random.

    Args:
        signatures: of the file.
        batches: preprocessed samples.

    Returns:
        A list of inputs for each name of a signature.
    """
    runs = [each.comparison.run for each in signatures if each.comparison.run]
    if not runs:
        return {
            signature.name: [
                {
                    name: batch.model_inputs.astype(spec.dtype.as_numpy_dtype)
                    for name, spec in signature.input_spec.items()
                }
                for batch in batches
            ]
            for signature in signatures
        }
    recorder = _Recorder(signatures)
    for run in runs:
        run(recorder.call, batches, False)
    return recorder.calibration


class _Recorder:
    """Runs the functions of signatures, and records up to `MAX_CALLS` random inputs of each."""

    def __init__(self, signatures: Sequence[Signature]):
        self.functions = {
            each.name: trace_once(each.function, each.input_spec) for each in signatures
        }
        self.input_specs = {each.name: each.input_spec for each in signatures}
        self.calibration: Calibration = {each.name: [] for each in signatures}
        self.num_calls = dict.fromkeys(self.calibration, 0)
        self.random = np.random.default_rng(0)

    def call(self, name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs of a signature."""
        specs = self.input_specs[name]
        inputs = {
            key: np.asarray(inputs[key], spec.dtype.as_numpy_dtype) for key, spec in specs.items()
        }
        self._record(name, inputs)
        return {key: x.numpy() for key, x in self.functions[name](inputs).items()}

    def _record(self, name, inputs):
        """Keeps each of the calls so far with the same probability."""
        recorded, count = self.calibration[name], self.num_calls[name]
        self.num_calls[name] += 1
        if count < MAX_CALLS:
            recorded.append(inputs)
        elif (index := self.random.integers(count + 1)) < MAX_CALLS:
            recorded[index] = inputs
