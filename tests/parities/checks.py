"""The parities: pairs of ways to compute the same, each compared for one model.

A parity returns the greatest difference, relative above 1, or `None` if the model has no such pair.
It raises an `AssertionError` if tokens differ.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from helpers import array, convert, model_inputs, write_saved_model
from keras_attention.generation import BeamSearch, Generator, GreedySearch, Strategy
from keras_attention.layers.base_attention import BaseAttention
from keras_attention.models import CausalLM, EncoderDecoder
from keras_attention.ops.fused import explicit_scope
from keras_attention.ops.ids import END, PAD, START
from parities.families import FAMILIES, LIMIT, V, sources

TOLERANCE = 1e-4
STEPS = 4
STRATEGY = BeamSearch(3, num_return_sequences=2, max_new_tokens=6)  # compared between backends


def cached_steps(name: str, model: keras.Model, folder: Path) -> float | None:
    """The logits of a decoder's steps, with their caches, and those of all tokens at once."""
    if not generates(model):
        return None
    source = sources(model)
    tokens = np.random.default_rng(2).integers(END, V, (len(source), STEPS))
    mask = model.encoder.compute_mask(source)
    constants, state = model.decoder.start(model.encoder(source), mask, max_length=STEPS + 1)
    logits = []
    for position, ids in enumerate([np.full(len(source), START), *tokens.T]):
        ids = keras.ops.convert_to_tensor(ids[:, None], "int32")
        step_logits, state, _ = model.decoder.step(ids, position, state, constants)
        logits.append(array(step_logits)[:, 0])
    return difference(np.stack(logits, 1), forward(model, source, tokens))


def greedy_search(name: str, model: keras.Model, folder: Path) -> float | None:
    """Beam search with one beam, and greedy search."""
    if not generates(model):
        return None
    source = sources(model)
    beam = BeamSearch(1, length_penalty=0.0, max_new_tokens=6)
    return compare(
        generate(model, beam, source), generate(model, GreedySearch(max_new_tokens=6), source)
    )


def exhaustive_search(name: str, model: keras.Model, folder: Path) -> float | None:
    """Beam search as wide as the vocabulary, and the best of all sequences of two tokens."""
    if not generates(model):
        return None
    source, count = sources(model), V - 2
    strategy = BeamSearch(count, length_penalty=0.0, num_return_sequences=count, max_new_tokens=2)
    received = generate(model, strategy, source)
    allowed = [token for token in range(V) if token not in (PAD, START)]
    # After END comes nothing; after another token, each.
    sequences = [(END, PAD)] + list(itertools.product(set(allowed) - {END}, allowed))
    scores = np.zeros((len(source), len(sequences)))
    for first in allowed:
        logits = forward(model, source, np.full((len(source), 1), first)).astype("float64")
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))  # (batch, 2, V)
        for i, (token, second) in enumerate(sequences):
            if token == first:
                rest = 0.0 if token == END else log_probs[:, 1, second]
                scores[:, i] = log_probs[:, 0, token] + rest
    order = np.argsort(-scores, axis=1)[:, :count]
    expected = {
        "ids": np.array(sequences)[order],
        "scores": np.take_along_axis(scores, order, axis=1),
    }
    return compare({key: received[key] for key in expected}, expected)


def fused_attention(name: str, model: keras.Model, folder: Path) -> float | None:
    """Logits with attention in blocks of two queries and keys, and in the explicit form."""
    attention = [each for each in model._flatten_layers() if isinstance(each, BaseAttention)]
    if not attention:
        return None
    logits, sizes = {}, [each.block_size for each in attention]
    for each in attention:
        each.block_size = 2
    for explicit in (True, False):
        with explicit_scope(explicit):
            logits[explicit] = logits_of(model)
    for each, size in zip(attention, sizes, strict=True):
        each.block_size = size
    return difference(logits[False], logits[True])


def keras_file(name: str, model: keras.Model, folder: Path) -> float:
    """A model and the one loaded from its `.keras` file."""
    model.save(folder / "model.keras")
    return compare(outputs(keras.saving.load_model(folder / "model.keras")), outputs(model))


def saved_model(name: str, model: keras.Model, folder: Path) -> float | None:
    """A model and its SavedModel, for batches of several sizes and lengths, ids and texts."""
    import tensorflow as tf

    task = task_of(name, model)
    if task is None:
        return None
    reads_text = generates(model) and sources(model).ndim == 2
    write_saved_model(task, folder / "saved", tokenizer=reads_text)
    signatures = tf.saved_model.load(str(folder / "saved")).signatures
    run = signatures["ids_details" if generates(model) else "ids"]
    greatest = compare_runner(task, lambda source: run(source=tf.constant(source)))
    if not reads_text:
        return greatest
    return max(greatest, compare_texts(task, signatures["details"]))


def tflite(name: str, model: keras.Model, folder: Path) -> float | None:
    """A model and its TFLite file, for batches of several sizes and lengths."""
    from keras_attention.export.tflite.runner import TFLiteRunner

    task = task_of(name, model)
    if task is None:
        return None
    (folder / "model.tflite").write_bytes(convert(task))
    runner = TFLiteRunner(folder)

    def run(source):
        received = runner(source, details=True)
        if generates(model):  # the default signature has no attention
            assert np.array_equal(runner(source)["ids"], received["ids"])
        return received

    return compare_runner(task, run)


def onnx_file(name: str, model: keras.Model, folder: Path) -> float | None:
    """A model and its ONNX file, for batches of several sizes and lengths."""
    import onnx

    from keras_attention.export.onnx.conversion import convert as convert_to_onnx
    from keras_attention.export.onnx.runner import FILE, ONNXRunner

    task = task_of(name, model)
    if task is None:
        return None
    (signature,) = task.signatures("onnx")
    onnx.save(convert_to_onnx(signature), folder / FILE)
    runner = ONNXRunner(folder)
    return compare_runner(task, lambda source: runner(source, details=True))


def keras_export(name: str, model: keras.Model, folder: Path) -> float:
    """The logits of a model, and of the SavedModel and TFLite file that `model.export` writes."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    model.export(folder / "exported", verbose=False)
    model.export(folder / "model.tflite", format="litert", verbose=False)
    saved_model = tf.saved_model.load(str(folder / "exported")).signatures["serving_default"]
    tflite = Interpreter(str(folder / "model.tflite")).get_signature_runner()
    inputs = {"source": sources(model)}
    if isinstance(model, EncoderDecoder):
        targets = np.random.default_rng(2).integers(END, V, (len(inputs["source"]), STEPS))
        inputs["target"] = targets.astype("int32")
    greatest = 0.0
    for size in (len(inputs["source"]), 1):
        batch = {key: x[:size] for key, x in inputs.items()}
        expected = array(model(batch if len(batch) > 1 else batch["source"]))
        names = [x.name for x in model.inputs]
        for run in (saved_model, tflite):
            values = {name: tf.constant(x) for name, x in zip(names, batch.values(), strict=True)}
            (received,) = run(**values).values()
            greatest = max(greatest, difference(np.asarray(received), expected))
    return greatest


GENERATION = cached_steps, greedy_search, exhaustive_search
Parity = Callable[[str, keras.Model, Path], float | None]
PARITIES: dict[str, Parity] = {
    "cached steps = full forward": cached_steps,
    "1 beam = greedy": greedy_search,
    "full beam = exhaustive": exhaustive_search,
    "fused = explicit": fused_attention,
    "`.keras`": keras_file,
    "SavedModel": saved_model,
    "TFLite": tflite,
    "ONNX": onnx_file,
    "`model.export`": keras_export,
}


def generates(model: keras.Model) -> bool:
    return isinstance(model, EncoderDecoder | CausalLM)


def forward(model: keras.Model, source: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Returns logits (batch, time + 1, V) of the tokens after a source, computed at once."""
    if isinstance(model, EncoderDecoder):
        target = np.concatenate([np.full((len(tokens), 1), START), tokens], 1)
        return array(model({"source": source, "target": target.astype("int32")}))
    rows = []
    for prompt, generated in zip(source, tokens, strict=True):
        text = [START, *prompt[prompt != PAD], *generated]
        rows.append(array(model(np.array([text], "int32")))[0, -tokens.shape[1] - 1 :])
    return np.stack(rows)


def generate(model: keras.Model, strategy: Strategy, source: np.ndarray) -> dict[str, np.ndarray]:
    """Generates without compiling."""
    generator = Generator(model, strategy, return_attention=True)
    return {name: array(x) for name, x in generator({"source": source}).items()}


def outputs(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns what is compared between two copies of a model."""
    if not generates(model):
        return {"logits": logits_of(model)}
    return {"logits": logits_of(model), **generate(model, STRATEGY, sources(model))}


def logits_of(model: keras.Model) -> np.ndarray:
    """Returns the logits of the sources, and of a few tokens after them if the model generates."""
    source = sources(model)
    if not generates(model):
        return array(model(source))
    tokens = np.random.default_rng(2).integers(END, V, (len(source), STEPS))
    return forward(model, source, tokens)


def compare_runner(task: Any, run: Callable[[np.ndarray], dict[str, Any]]) -> float:
    """Compares what a file returns with what the model returns."""
    source, greatest = sources(task.model), 0.0
    if source.ndim == 2:
        letters = np.random.default_rng(3).integers(4, V, (4, LIMIT)).astype("int32")
        letters[1:3] *= np.arange(LIMIT) < np.array([[1], [5]])
        batches = [source[:1], letters[:1, :1], letters[:1], letters]
    else:
        batches = [source[:1], source]
    for batch in batches:
        if generates(task.model):
            expected = generate(task.model, task.strategy, batch)
        else:
            expected = {"probabilities": array(keras.ops.softmax(task.model(batch)))}
        received = {name: np.asarray(x) for name, x in run(batch).items()}
        greatest = max(greatest, compare(received, expected))
    if "scores" in expected:  # else the comparison would show little
        assert len(set(expected["scores"].ravel())) > 1
    return greatest


def compare_texts(task: Any, details: Callable[..., dict[str, Any]]) -> float:
    """Compares tokens, scores and attention of the signature `details`, which reads texts."""
    import tensorflow as tf

    longest, greatest = ("abcd" * LIMIT)[:LIMIT], 0.0
    names = np.array(["", *task.target_tokenizer.vocabulary[1:]])
    for texts in (["a"], [longest], ["", "abcdda", "ab", longest]):
        source = model_inputs(task, texts)
        assert source.shape[1] <= LIMIT
        expected = generate(task.model, task.strategy, source)
        received = details(text=tf.constant(texts))
        tokens = np.char.decode(received["target_tokens"].numpy().astype("S"), "utf-8")
        assert np.array_equal(tokens, names[expected["ids"]])
        for name, field in (("score", "scores"), ("attention", "attention")):
            greatest = max(greatest, difference(received[name].numpy(), expected[field]))
    return greatest


def compare(received: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    assert received.keys() == expected.keys(), (received.keys(), expected.keys())
    for name, x in expected.items():
        assert received[name].shape == x.shape, (name, received[name].shape, x.shape)
        if x.dtype.kind == "i":
            assert np.array_equal(received[name], x), (name, received[name], x)
    floats = [name for name, x in expected.items() if x.dtype.kind == "f"]
    return max(difference(received[name], expected[name]) for name in floats)


def difference(received: np.ndarray, expected: np.ndarray) -> float:
    """Returns the greatest difference, relative above 1; NaN if there is one."""
    return float(np.max(np.abs(received - expected) / np.maximum(1.0, np.abs(expected))))


def task_of(name: str, model: keras.Model) -> Any:
    """Returns a task with the model, `None` if the library has none for it."""
    from keras_attention import tasks
    from keras_attention.text import CharacterTokenizer

    letters, strategy = CharacterTokenizer.train(["abcd"]), FAMILIES[name].strategy
    if name.startswith("classifier"):
        return tasks.TextClassifier(model, letters, ["x", "y", "z"], LIMIT)
    if name.startswith("tagger"):
        return tasks.TextTagger(model, letters, ["x", "y", "z"], LIMIT)
    if isinstance(model, CausalLM):
        return tasks.TextGenerator(model, letters, strategy, LIMIT)
    if not generates(model):
        return None
    if sources(model).ndim == 4:
        return tasks.Captioner(model, letters, strategy)
    return tasks.Translator(model, letters, letters, strategy, LIMIT)
