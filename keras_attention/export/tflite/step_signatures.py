"""Signatures for an app that runs the decoding loop itself: `encode` once, `decode` for each token.

An app uses them to show words as they are generated, or to choose tokens by its own rules.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention.export.signatures import Comparison, Signature
from keras_attention.export.tflite.static_shapes import pad
from keras_attention.export.tflite.step_tensors import trace_step_tensors
from keras_attention.export.verification.compare import ExportError
from keras_attention.generation import GreedySearch, Strategy
from keras_attention.generation.logits_processors import process_logits
from keras_attention.models.generative_model import GenerativeModel
from keras_attention.ops.ids import END, PAD, START
from keras_attention.ops.kv_cache import transposed_factors_scope
from keras_attention.types import Batch

ENCODE, DECODE = "encode", "decode"
LOGITS = "logits"


def step_signatures(
    model: GenerativeModel, strategy: Strategy, input_spec: tf.TensorSpec
) -> list[Signature]:
    """Returns the signatures `encode` and `decode`.

    `encode` takes `source` and returns named tensors. `decode` takes `ids` int32 `(batch,)`, the
    last token of each row (`[START]` at first), `position` int32 `()`, the number of tokens before
    it, and all of those tensors. It returns `logits` float32 `(batch, vocabulary_size)` of the next
    token, -1e9 for tokens that are never generated, and by the same names the tensors that it
    changes: `state_...`. A `state_...` that `encode` does not return is zero at first; these are
    the caches in a file of static shapes.

    Args:
        model: the model.
        strategy: gives the maximum number of tokens and the suppressed tokens.
        input_spec: of the model inputs.
    """
    encoder, decoder = model.encoder, model.decoder
    greedy = GreedySearch(suppress_tokens=strategy.suppress_tokens)

    @transposed_factors_scope()
    def start(source):
        encoded, mask = encoder(source), encoder.compute_mask(source)
        return decoder.start(encoded, mask, num_beams=1, max_length=strategy.max_new_tokens)

    @transposed_factors_scope()
    def advance(ids, position, constants, state):
        logits, state, _ = decoder.step(tf.expand_dims(ids, 1), position, state, constants)
        logits = process_logits(tf.cast(logits, tf.float32), greedy.logits_processors)
        return logits[:, 0], state  # (B, V)

    step_spec = {
        "ids": tf.TensorSpec(input_spec.shape[:1], tf.int32, name="ids"),
        "position": tf.TensorSpec((), tf.int32, name="position"),
    }
    tensors = trace_step_tensors(start, advance, input_spec, step_spec)

    def encode(inputs):
        return tensors.outputs_of_start(*start(inputs["source"]))

    def decode(inputs):
        constants, state = tensors.restore(inputs)
        logits, new_state = advance(inputs["ids"], inputs["position"], constants, state)
        return {LOGITS: logits, **tensors.changes(state, new_state)}

    def run(call, batches, exact):
        static_shape = tuple(input_spec.shape) if input_spec.shape.is_fully_defined() else None
        app = App(call, strategy.max_new_tokens, tensors.zeros(), static_shape)
        return verify_steps(model, strategy, app, batches, exact)

    return [
        Signature(ENCODE, encode, {"source": input_spec}),
        Signature(DECODE, decode, {**step_spec, **tensors.spec}, Comparison(run=run)),
    ]


class App:
    """Greedy search with `encode` and `decode`, as in an app.

    Args:
        call: `call(signature, inputs)` runs a signature of the file.
        max_new_tokens: maximum number of generated tokens.
        zeros: the tensors that `encode` does not return.
        static_shape: shape to which `source` is padded; `None` if it is free.
    """

    def __init__(
        self,
        call: Callable[[str, dict[str, Any]], dict[str, np.ndarray]],
        max_new_tokens: int,
        zeros: dict[str, np.ndarray] | None = None,
        static_shape: Sequence[int] | None = None,
    ):
        self.call = call
        self.max_new_tokens = max_new_tokens
        self.zeros = zeros or {}
        self.static_shape = static_shape

    def generate(self, source: np.ndarray) -> np.ndarray:
        """Returns the ids `(batch, max_new_tokens)`, padded, for model inputs."""
        rows = len(source)
        if self.static_shape:
            source = pad(source, self.static_shape)
        tensors = {**self.zeros, **self.call(ENCODE, {"source": source})}
        last = np.full(len(source), START, "int32")
        ids = np.full((len(source), self.max_new_tokens), PAD, "int32")
        is_open = np.ones(len(source), bool)
        for position in range(self.max_new_tokens):
            inputs = {**tensors, "ids": last, "position": np.array(position, "int32")}
            outputs = self.call(DECODE, inputs)
            best = outputs.pop(LOGITS).argmax(-1)
            last = np.where(is_open, best, PAD).astype("int32")
            ids[:, position] = last
            is_open &= last != END
            if not is_open.any():
                break
            tensors.update(outputs)
        return ids[:rows]


def verify_steps(
    model: GenerativeModel,
    strategy: Strategy,
    app: App,
    batches: Sequence[Batch],
    exact: bool,
) -> dict[str, Any]:
    """Generates with both signatures and compares with the model's greedy search.

    Args:
        model: the model.
        strategy: of the export.
        app: runs the file.
        batches: preprocessed samples.
        exact: whether all ids must be equal, as in a file of float32.

    Returns:
        `steps_agreement`: the numbers of compared and of equal sequences.

    Raises:
        ExportError: If a sequence differs and `exact` is true.
    """
    length = strategy.max_new_tokens
    greedy = GreedySearch(length, suppress_tokens=strategy.suppress_tokens)
    agreement = {"compared": 0, "equal": 0}
    for batch in batches:
        source = batch.model_inputs
        expected = np.asarray(model.generate(source, greedy).ids)[:, 0]
        received = app.generate(source)
        expected = np.pad(expected, ((0, 0), (0, length - expected.shape[1])))
        equal = (expected == received).all(axis=1)
        if exact and not equal.all():
            row = int(np.argmin(equal))
            raise ExportError(
                "`encode` and `decode` must generate what the model's greedy search generates for "
                f"ids {source[row].tolist()}: {expected[row].tolist()}. "
                f"Received: {received[row].tolist()}"
            )
        agreement["compared"] += len(equal)
        agreement["equal"] += int(equal.sum())
    return {"steps_agreement": agreement}
