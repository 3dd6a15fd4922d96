"""Times generation of the same number of tokens with a small and a large limit.

    python benchmarks/decoding_length.py
    python benchmarks/decoding_length.py --runtimes tflite --batches 1

The key/value caches grow with the tokens generated, so that the limit, `max_new_tokens`, should not
matter. The model has random weights and the size of an OPUS-MT model. [END] is suppressed, so every
run generates the same number of tokens. The two limits take turns in one process; median times are
printed, the time to trace or convert, and the sizes of the TFLite files.
"""

import argparse
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from timing import median_milliseconds

from keras_attention.export.signatures import Signature, save_signatures
from keras_attention.export.tflite.writer import convert
from keras_attention.generation import BeamSearch, Generator, GreedySearch
from keras_attention.generation.logits_processors import SuppressTokens
from keras_attention.models import transformer
from keras_attention.ops.ids import END


class EndlessGreedySearch(GreedySearch):
    """Greedy search that never generates [END]."""

    @property
    def logits_processors(self):
        return [*super().logits_processors, SuppressTokens([END])]


class EndlessBeamSearch(BeamSearch):
    """Beam search that never generates [END]."""

    @property
    def logits_processors(self):
        return [*super().logits_processors, SuppressTokens([END])]


STRATEGIES = {"greedy": EndlessGreedySearch, "beam 4": EndlessBeamSearch}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=64, help="tokens generated [64]")
    parser.add_argument("--limits", type=int, nargs=2, default=[64, 512])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--runtimes", nargs="+", default=list(RUNTIMES))
    parser.add_argument("--weights", default="float32", help="of the TFLite files [float32]")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden-dim", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=11569)
    parser.add_argument("--source-length", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    model = transformer(
        options.vocabulary,
        options.vocabulary,
        num_layers=options.layers,
        hidden_dim=options.hidden_dim,
        num_heads=8,
        intermediate_dim=4 * options.hidden_dim,
    )
    for name in options.strategies:
        for runtime in options.runtimes:
            generators = {}
            for limit in options.limits:
                start = time.perf_counter()
                generator = Generator(model, STRATEGIES[name](max_new_tokens=limit))
                generators[limit] = RUNTIMES[runtime](generator, options)
                print(f"{name}, {runtime}, limit {limit}: {time.perf_counter() - start:.1f} s")
            for batch in options.batches:
                compare(f"{name}, {runtime}, batch {batch}", generators, batch, options)


def compare(title, generators, batch, options):
    """Checks that both limits give the same ids, and prints their times."""
    source = np.random.default_rng(0).integers(
        4, options.vocabulary, (batch, options.source_length), "int32"
    )
    inputs = {"source": source, "max_new_tokens": np.full(batch, options.tokens, "int32")}
    ids = [generate(inputs)["ids"][..., : options.tokens] for generate in generators.values()]
    np.testing.assert_array_equal(*ids)
    assert (np.asarray(ids) > 0).all()
    runs = {limit: lambda run=run: run(inputs) for limit, run in generators.items()}
    times = median_milliseconds(runs, options.rounds, warm_up=1)
    first, second = times
    rate = {limit: 1000 * batch * options.tokens / each for limit, each in times.items()}
    print(
        f"{title}: limit {first} {times[first]:.1f} ms ({rate[first]:.0f} tokens/s), "
        f"limit {second} {times[second]:.1f} ms ({rate[second]:.0f} tokens/s), "
        f"ratio {times[second] / times[first]:.3f}",
        flush=True,
    )


def run_keras(generator, options):
    """Returns a function that generates with the Keras model."""
    return generator.predict_on_batch


def run_saved_model(generator, options):
    """Returns a function that generates with a SavedModel."""
    with tempfile.TemporaryDirectory() as folder:
        save_signatures([make_signature(generator, options)], folder)
        loaded = tf.saved_model.load(folder)
    run = loaded.signatures["generate"]
    return lambda inputs, loaded=loaded: {
        name: x.numpy() for name, x in run(**tree_tensors(inputs)).items()
    }


def run_tflite(generator, options):
    """Returns a function that generates with a TFLite file."""
    file = convert([make_signature(generator, options)], options.weights)
    print(f"{len(file) / 1e6:.1f} MB")
    interpreter = Interpreter(model_content=file, num_threads=2)
    run = interpreter.get_signature_runner("generate")
    return lambda inputs, keep=interpreter: run(**inputs)


def make_signature(generator, options):
    """Returns the signature of generation from ids, with a limit for each row."""
    input_spec = {
        "source": tf.TensorSpec((None, None), tf.int32, name="source"),
        "max_new_tokens": tf.TensorSpec((None,), tf.int32, name="max_new_tokens"),
    }
    return Signature("generate", generator, input_spec)


def tree_tensors(inputs):
    """Returns the inputs as tensors."""
    return {name: tf.constant(x) for name, x in inputs.items()}


RUNTIMES = {"keras": run_keras, "saved_model": run_saved_model, "tflite": run_tflite}

if __name__ == "__main__":
    main()
