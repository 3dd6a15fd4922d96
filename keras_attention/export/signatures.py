"""Signatures: the functions of an exported file, and how each of them is verified."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_attention.types import Batch, Tensor
from keras_attention.utils.lazy_tensorflow import tf


class Predictions(NamedTuple):
    """Outputs of one batch in the form in which they are compared, best first.

    Attributes:
        labels: `(batch, n)` strings.
        tokens: `(batch, n, ...)` names, padded.
        scores: `(batch, n)`.
        attention: `(batch, n, ...)` weights, compared where tokens are equal, or `None`.
        probabilities: `(batch, n, ...)`, compared in place of the scores, which are their maximum,
            or `None`.
    """

    labels: list
    tokens: Any
    scores: Any
    attention: Any = None
    probabilities: Any = None


@dataclass(frozen=True)
class Comparison:
    """Definition of the correct outputs of a signature.

    A signature is compared with the model (`predictions`) or with another signature of the file
    (`same_as`). One that can only be run together with others brings its own test (`run`).

    Attributes:
        predictions: `predictions(outputs, batch)` returns `Predictions`. Tokens must be those of
            the model, or as probable; scores, probabilities and attention must be close.
        recorded: names of the outputs that are recorded for later verification.
        same_as: name of a signature that must return the same: strings and integers equal, floats
            close.
        view: applied to the outputs before they are compared with those of `same_as`.
        expected: `expected(outputs, batch)`, applied to the outputs of `same_as`.
        run: `run(call, batches, exact)` returns what the report says, and raises `ExportError`.
    """

    predictions: Callable[[dict, Batch], Predictions] | None = None
    recorded: tuple[str, ...] = ()
    same_as: str | None = None
    view: Callable[[dict], dict] = dict
    expected: Callable[[dict, Batch], dict] = lambda outputs, batch: outputs
    run: Callable[[Callable, Sequence[Batch], bool], dict] | None = None


@dataclass(frozen=True)
class Signature:
    """A function of an exported file.

    Attributes:
        name: its name in the file.
        function: takes a dictionary of tensors, the inputs, and returns one, the outputs.
        input_spec: specifications of the inputs by name.
        comparison: how its outputs are verified.
        defaults: `defaults(batch_size)` returns arrays `(batch,)` for the inputs that a request
            may omit.
        text_operations: whether its graph has operations of TensorFlow Text.
    """

    name: str
    function: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    input_spec: dict[str, tf.TensorSpec]
    comparison: Comparison = Comparison()
    defaults: Callable[[int], dict[str, np.ndarray]] | None = None
    text_operations: bool = False


@dataclass(frozen=True)
class Exportable:
    """Everything that the writers and the verification need to know of what is exported.

    Attributes:
        name: name of the exported class, for reports and metadata.
        signatures: the functions to export; the first is the default.
        samples: raw inputs on which the export is verified; the first `num_samples` are the user's.
        num_samples: number of samples that have references.
        input_name: name of the signature input that takes raw inputs.
        preprocess: raw inputs to a `Batch`.
        predict: `predict(model_inputs, details)`, the outputs of the model.
        results: `results(outputs, batch)`, one result for each input, as `metric` takes them.
        metric: `metric(results, references)`, points out of 100 by name.
        metadata: what `export.json` and `verification.json` say of the model.
        save_assets: writes the files of the tokenizers to a folder; returns further metadata.
        num_bytes: size of the weights.
        first_recorded: index of the first sample that may be written into the export, with those
            after it.
        allows_empty_batch: whether raw inputs may be an empty batch.
        normalize: raw inputs to what signatures of TFLite take.
        compact: samples to smaller ones for the model, for those that are recorded.
    """

    name: str
    signatures: Sequence[Signature]
    samples: Sequence[Any]
    num_samples: int
    input_name: str
    preprocess: Callable[[Any], Batch]
    predict: Callable[..., dict[str, np.ndarray]]
    results: Callable[[dict, Batch], list]
    metric: Callable[[Sequence, Sequence], dict[str, float]]
    metadata: dict[str, Any]
    save_assets: Callable[[Path], dict[str, Any]]
    num_bytes: int
    first_recorded: int = 0
    allows_empty_batch: bool = True
    normalize: Callable[[Sequence[Any]], Any] = list
    compact: Callable[[Sequence[Any]], list] = list

    def encode(self, samples: Sequence[Any]) -> Batch:
        """Preprocesses samples to arrays; one sample is too long on purpose, without a warning."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            batch = self.preprocess(samples)
        return batch._replace(model_inputs=np.asarray(batch.model_inputs))

    def inputs(
        self, signature: Signature, samples: Sequence[Any], batch: Batch, optional: bool = True
    ) -> dict[str, Any]:
        """Returns the inputs of a signature for samples.

        Args:
            signature: the signature.
            samples: raw inputs.
            batch: the same, preprocessed.
            optional: whether to pass optional inputs, too, with their default values.
        """
        defaults = signature.defaults(len(samples)) if signature.defaults else {}
        inputs: dict[str, Any] = dict(defaults) if optional else {}
        for name in signature.input_spec.keys() - defaults.keys():
            inputs[name] = samples if name == self.input_name else batch.model_inputs
        return inputs


def has_static_shapes(signatures: Sequence[Signature]) -> bool:
    """Returns True if the inputs of all signatures have static shapes."""
    specs = [spec for signature in signatures for spec in signature.input_spec.values()]
    return all(spec.shape.is_fully_defined() for spec in specs)


def trace_once(
    function: Callable, input_spec: dict[str, tf.TensorSpec]
) -> tf.types.experimental.PolymorphicFunction:
    """Returns a function that is traced once, so that signatures that call it share its graph."""
    return tf.function(function, input_signature=[input_spec], autograph=False)


def save_signatures(signatures: Sequence[Signature], folder: str | Path) -> None:
    """Writes a SavedModel that contains the signatures and the weights that they use.

    `keras.export.ExportArchive` passes `tf.function`s to `tf.saved_model.save`, which traces each
    of them a second time; here they are traced once. As there, the first is `serving_default` too
    unless one has this name.

    Args:
        signatures: functions of the SavedModel.
        folder: where it is written.
    """
    traced = {
        signature.name: trace_once(signature.function, signature.input_spec).get_concrete_function()
        for signature in signatures
    }
    traced.setdefault("serving_default", traced[signatures[0].name])
    module = tf.Module()
    module.weights = list({id(v): v for each in traced.values() for v in each.variables}.values())
    tf.saved_model.save(module, str(folder), signatures=traced)


def with_defaults(
    input_spec: tf.TensorSpec, defaults: dict[str, np.ndarray]
) -> dict[str, tf.TensorSpec]:
    """Returns the specifications of an input and of optional inputs `(batch,)`."""
    batch = input_spec.shape[:1]
    optional = {name: tf.TensorSpec(batch, x.dtype, name=name) for name, x in defaults.items()}
    return {input_spec.name: input_spec, **optional}
