"""Signatures for an app that runs the decoding loop itself: `encode` once, `step` for each token.

An app uses them to show words as they are generated, or to choose tokens by its own rules.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_attention.export.signatures import Comparison, Signature
from keras_attention.export.verification.compare import ExportError
from keras_attention.generation import GreedySearch, Strategy
from keras_attention.generation.logits_processors import compute_log_probs
from keras_attention.models.generative_model import GenerativeModel
from keras_attention.ops.ids import END, PAD, START
from keras_attention.types import Batch

ENCODE, STEP = "encode", "step"
LOG_PROBABILITIES = "log_probabilities"


def step_signatures(
    model: GenerativeModel, strategy: Strategy, input_spec: tf.TensorSpec
) -> list[Signature]:
    """Returns the signatures `encode` and `step`.

    `encode` takes `source` and returns named tensors. `step` takes `ids` int32 `(batch,)`, the last
    token of each row (`[START]` at first), `position` int32 `()`, the number of tokens before it,
    and all of those tensors. It returns `log_probabilities` `(batch, vocabulary_size)` of the next
    token, -1e9 for tokens that are never generated, and by the same names the tensors that it
    changes: `state_...`.

    Args:
        model: the model.
        strategy: gives the maximum number of tokens and the suppressed tokens.
        input_spec: of the model inputs.
    """
    encoder, decoder = model.encoder, model.decoder
    greedy = GreedySearch(suppress_tokens=strategy.suppress_tokens)
    structure: dict[str, Any] = {}

    def encode(inputs):
        source = inputs["source"]
        mask = encoder.compute_mask(source)
        constants, state = decoder.start(
            encoder(source), mask, num_beams=1, max_length=strategy.max_new_tokens
        )
        structure.update(constants=constants, state=state)
        return {**_to_named("constants", constants), **_to_named("state", state)}

    def step(inputs):
        constants, state = (
            _from_named(name, structure[name], inputs) for name in ("constants", "state")
        )
        ids = tf.expand_dims(inputs["ids"], 1)  # (B, 1)
        logits, state, _ = decoder.step(ids, inputs["position"], state, constants)
        log_probs = compute_log_probs(logits, greedy.logits_processors)[:, 0]  # (B, V)
        return {LOG_PROBABILITIES: log_probs, **_to_named("state", state)}

    encode_spec = {"source": input_spec}
    traced = tf.function(encode, input_signature=[encode_spec], autograph=False)
    tensors = traced.get_concrete_function().structured_outputs
    step_spec = {
        "ids": tf.TensorSpec((None,), tf.int32, name="ids"),
        "position": tf.TensorSpec((), tf.int32, name="position"),
        **{name: tf.TensorSpec(x.shape, x.dtype, name=name) for name, x in tensors.items()},
    }

    def run(call, batches, exact):
        return verify_steps(model, strategy, call, batches, exact)

    return [
        Signature(ENCODE, traced, encode_spec),
        Signature(STEP, step, step_spec, Comparison(run=run)),
    ]


def generate(call: Callable, source: np.ndarray, max_new_tokens: int) -> np.ndarray:
    """Generates by greedy search, in the way an app does.

    Args:
        call: `call(signature, inputs)` runs a signature of the file.
        source: model inputs.
        max_new_tokens: maximum number of generated tokens.

    Returns:
        Ids `(batch, max_new_tokens)`, padded.
    """
    tensors = call(ENCODE, {"source": source})
    last = np.full(len(source), START, "int32")
    ids = np.full((len(source), max_new_tokens), PAD, "int32")
    is_open = np.ones(len(source), bool)
    for position in range(max_new_tokens):
        inputs = {**tensors, "ids": last, "position": np.array(position, "int32")}
        outputs = call(STEP, inputs)
        best = outputs.pop(LOG_PROBABILITIES).argmax(-1)
        last = np.where(is_open, best, PAD).astype("int32")
        ids[:, position] = last
        is_open &= last != END
        if not is_open.any():
            break
        tensors.update(outputs)
    return ids


def verify_steps(
    model: GenerativeModel,
    strategy: Strategy,
    call: Callable,
    batches: Sequence[Batch],
    exact: bool,
) -> dict[str, Any]:
    """Generates with both signatures and compares with the model's greedy search.

    Args:
        model: the model.
        strategy: of the export.
        call: `call(signature, inputs)` runs a signature of the file.
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
        received = generate(call, source, length)
        expected = np.pad(expected, ((0, 0), (0, length - expected.shape[1])))
        equal = (expected == received).all(axis=1)
        if exact and not equal.all():
            row = int(np.argmin(equal))
            raise ExportError(
                "`encode` and `step` must generate what the model's greedy search generates for "
                f"ids {source[row].tolist()}: {expected[row].tolist()}. "
                f"Received: {received[row].tolist()}"
            )
        agreement["compared"] += len(equal)
        agreement["equal"] += int(equal.sum())
    return {"steps_agreement": agreement}


def _to_named(name, structure) -> dict[str, tf.Tensor]:
    """Names the tensors of a nested structure by their order; `None` has no name."""
    leaves = keras.tree.flatten(structure)
    return {f"{name}_{i:02d}": x for i, x in enumerate(leaves) if x is not None}


def _from_named(name, structure, tensors):
    """Returns the structure with the named tensors in place of its own."""
    leaves = keras.tree.flatten(structure)
    replaced = [tensors.get(f"{name}_{i:02d}") for i in range(len(leaves))]
    return keras.tree.pack_sequence_as(structure, replaced)
