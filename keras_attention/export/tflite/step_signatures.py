"""Generation that is looped by the app: `encode` once, then `step` for each token."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_attention.export.verification.compare import ExportError
from keras_attention.generation import GreedySearch
from keras_attention.generation.strategy import log_probabilities
from keras_attention.ops.ids import END, PAD, START

ENCODE, STEP = "encode", "step"
GIVEN = "log_probabilities"


def add_endpoints(archive: keras.export.ExportArchive, task: Any) -> list[str]:
    """Adds both signatures to an archive, and returns their names.

    `encode` takes `source` and gives named tensors. `step` takes `ids` int32 `(batch,)`, the last
    token of each (START at first), `position` int32 `()`, how many were written before, and all of
    those tensors. It gives `log_probabilities` `(batch, vocabulary)` of the next token, -1e9 for
    those that are never written, and, by the same names, the tensors that it changes: `state_...`.

    Args:
        archive: gets them.
        task: of a kind that generates.
    """
    encoder, decoder, strategy = task.model.encoder, task.model.decoder, task.strategy
    structure: dict[str, Any] = {}

    def encode(source):
        mask = encoder.compute_mask(source)
        context, state = decoder.start(
            encoder(source), mask, num_beams=1, max_length=strategy.max_new_tokens
        )
        structure.update(context=context, state=state)
        return {**_named("context", context), **_named("state", state)}

    def step(given):
        context, state = (_filled(name, structure[name], given) for name in ("context", "state"))
        ids = tf.expand_dims(given["ids"], 1)  # (B, 1)
        logits, state, _ = decoder.step(ids, given["position"], state, context)
        found = log_probabilities(logits, strategy.suppress_tokens)[:, 0]  # (B, V)
        return {GIVEN: found, **_named("state", state)}

    traced = archive.add_endpoint(ENCODE, encode, input_signature=[task.source_spec()])
    found = traced.get_concrete_function().structured_outputs
    given = {
        "ids": tf.TensorSpec((None,), tf.int32, name="ids"),
        "position": tf.TensorSpec((), tf.int32, name="position"),
        **{name: tf.TensorSpec(x.shape, x.dtype, name=name) for name, x in found.items()},
    }
    archive.add_endpoint(STEP, step, input_signature=[given])
    return [ENCODE, STEP]


def _named(name, structure) -> dict[str, tf.Tensor]:
    """The tensors of a nested structure, by the order in which they stand; there may be None."""
    leaves = keras.tree.flatten(structure)
    return {f"{name}_{i:02d}": x for i, x in enumerate(leaves) if x is not None}


def _filled(name, structure, tensors):
    """The structure, with these tensors in place of its own."""
    leaves = keras.tree.flatten(structure)
    given = [tensors.get(f"{name}_{i:02d}") for i in range(len(leaves))]
    return keras.tree.pack_sequence_as(structure, given)


def generate(runner: Callable, source: np.ndarray, max_length: int) -> np.ndarray:
    """Greedy search as an app does it.

    Args:
        runner: the function of a signature, by its name.
        source: what the model reads.
        max_length: most tokens in an answer.

    Returns:
        Ids `(batch, max_length)`, padded.
    """
    encode, step = runner(ENCODE), runner(STEP)
    tensors = encode(source=source.astype(encode.get_input_details()["source"]["dtype"]))
    ids = np.full(len(source), START, "int32")
    written = np.full((len(source), max_length), PAD, "int32")
    is_open = np.ones(len(source), bool)
    taken = step.get_input_details()  # what a step does not read, the file does not take
    for position in range(max_length):
        given = {**tensors, "ids": ids, "position": np.array(position, "int32")}
        found = step(**{name: given[name] for name in taken})
        ids = np.where(is_open, found.pop(GIVEN).argmax(-1), PAD).astype("int32")
        written[:, position] = ids
        is_open &= ids != END
        if not is_open.any():
            break
        tensors.update(found)
    return written


def prove(task: Any, runner: Callable, batches: Sequence[list], rounded: bool) -> dict:
    """Generates with both signatures and compares with the model's greedy search.

    Returns:
        How many `answers` there were, and how many were `equal`.

    Raises:
        ExportError: if one is not equal, and the file does not round.
    """
    length = task.strategy.max_new_tokens
    greedy = GreedySearch(length, suppress_tokens=task.strategy.suppress_tokens)
    said = {"answers": 0, "equal": 0}
    for texts in batches:
        source = task.encode(texts)
        expected = np.asarray(task.model.generate(source, greedy).ids)[:, 0]
        received = generate(runner, source, length)
        expected = np.pad(expected, ((0, 0), (0, length - expected.shape[1])))
        equal = (expected == received).all(axis=1)
        if not (rounded or equal.all()):
            row = int(np.argmin(equal))
            raise ExportError(
                f"Expected the model's greedy answer to {repr(texts[row])[:80]} by encode and "
                f"step: {expected[row].tolist()}. Received: {received[row].tolist()}"
            )
        said["answers"] += len(equal)
        said["equal"] += int(equal.sum())
    return said
