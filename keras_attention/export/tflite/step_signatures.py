"""Signatures for an app that runs the decoding loop itself: `encode` once, `decode` for each token.

An app uses them to show words as they are generated, or to choose tokens by its own rules.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention.export.signatures import Comparison, Signature
from keras_attention.export.tflite.step_runner import DECODE, ENCODE, LOGITS, GreedyLoop
from keras_attention.export.tflite.step_tensors import trace_step_tensors
from keras_attention.export.verification.compare import ExportError
from keras_attention.generation import GreedySearch, Strategy
from keras_attention.models.generative_model import GenerativeModel
from keras_attention.ops.kv_cache import transposed_factors_scope
from keras_attention.ops.masks import mask_value
from keras_attention.types import Batch


def step_signatures(
    model: GenerativeModel, strategy: Strategy, input_spec: tf.TensorSpec
) -> list[Signature]:
    """Returns the signatures `encode` and `decode`.

    `encode` takes `source` and returns named tensors. `decode` takes `ids` int32 `(batch,)`, the
    last token of each row (`[START]` at first), `position` int32 `()`, the number of tokens before
    it, and all of those tensors. It returns `logits` float32 `(batch, vocabulary_size)` of the next
    token, `ops.masks.mask_value()` for tokens that are never generated, and by the same names the
    tensors that it changes: `state_...`. A `state_...` that `encode` does not return is zero at
    first; these are the caches in a file of static shapes.

    Args:
        model: the model.
        strategy: gives the maximum number of tokens and the suppressed tokens.
        input_spec: of the model inputs.
    """
    encoder, decoder = model.encoder, model.decoder
    is_suppressed = np.isin(np.arange(decoder.vocabulary_size), strategy.suppressed_ids)  # (V,)

    @transposed_factors_scope()
    def start(source):
        encoded, mask = encoder(source), encoder.compute_mask(source)
        return decoder.start(encoded, mask, num_beams=1, max_length=strategy.max_new_tokens)

    @transposed_factors_scope()
    def advance(ids, position, constants, state):
        logits, state, _ = decoder.step(tf.expand_dims(ids, 1), position, state, constants)
        logits = tf.cast(logits[:, 0], tf.float32)  # (B, V)
        return tf.where(is_suppressed, mask_value(), logits), state

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
        greedy = GreedySearch(strategy.max_new_tokens, suppress_tokens=strategy.suppress_tokens)
        loop = GreedyLoop(call, greedy, tensors.zeros(), static_shape)
        return verify_steps(model, loop, batches, exact)

    return [
        Signature(ENCODE, encode, {"source": input_spec}),
        Signature(DECODE, decode, {**step_spec, **tensors.spec}, Comparison(run=run)),
    ]


def verify_steps(
    model: GenerativeModel, loop: GreedyLoop, batches: Sequence[Batch], exact: bool
) -> dict[str, Any]:
    """Generates with both signatures and compares with the model's greedy search.

    Args:
        model: the model.
        loop: runs the file; the model generates with its strategy.
        batches: preprocessed samples.
        exact: whether all ids must be equal, as in a file of float32.

    Returns:
        `steps_agreement`: the numbers of compared and of equal sequences.

    Raises:
        ExportError: If a sequence differs and `exact` is true.
    """
    agreement = {"compared": 0, "equal": 0}
    for batch in batches:
        source = batch.model_inputs
        expected = np.asarray(model.generate(source, loop.strategy).ids)[:, 0]
        received = loop.generate(source)["ids"][:, 0]
        expected = np.pad(expected, ((0, 0), (0, received.shape[1] - expected.shape[1])))
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
