"""Generation of the same number of tokens with a small and a large `max_new_tokens`.

    python benchmarks/decoding_length.py
    python benchmarks/decoding_length.py --runtimes tflite --batches 1

The key/value caches grow with the tokens generated, so that this limit should not matter. The model
has random weights and the size of an OPUS-MT model. [END] is suppressed, so every run generates the
same number of tokens. In one more run, the rows of a batch end one after the other. The runs take
turns in one process. The limit of the machine is the time of the matrix products of the decoder
alone.
"""

import tempfile
from functools import partial
from types import SimpleNamespace

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from decoding import OPUS_MT
from keras_attention.export.signatures import save_signatures
from keras_attention.export.tflite.conversion import convert
from keras_attention.export.tflite.flatbuffer import write_model
from keras_attention.generation import Generator
from report import LIMIT, Report, make_parser, rows_of
from steps.generation import endless_strategy, limit, random_source, random_transformer
from steps.tflite_file import make_signature
from turns import measure_here


def main():
    parser = make_parser(__doc__, rounds=5, **OPUS_MT)
    parser.add_argument("--limits", type=int, nargs=2, default=[64, 512])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--runtimes", nargs="+", default=list(RUNTIMES))
    parser.add_argument("--weights", default="float32", help="of the TFLite files [float32]")
    options = parser.parse_args()
    report = Report(options)
    sizes = {name: getattr(options, name) for name in OPUS_MT} | {"dtype_policy": "float32"}
    model = random_transformer(SimpleNamespace(**sizes))
    for num_beams in options.beams:
        for runtime in options.runtimes:
            generators = {}
            for max_new_tokens in options.limits:
                generator = Generator(model, endless_strategy(num_beams, max_new_tokens))
                generators[max_new_tokens] = RUNTIMES[runtime](generator, options.weights)
            for batch in options.batches:
                work = SimpleNamespace(**sizes, batch=batch, num_beams=num_beams)
                results = compare(generators, work, options.rounds)
                rows = rows_of(results)
                report.table(f"{num_beams} beams, {runtime}, batch {batch}", rows)
    report.save()


def compare(generators, work, rounds):
    """Checks the ids of all runs, and measures them."""
    source = random_source(work)
    all_equal = np.full(work.batch, work.tokens, "int32")
    some_shorter = np.linspace(work.tokens // 8, work.tokens, work.batch).astype("int32")
    runs = {
        f"max_new_tokens {each}": partial(run, {"source": source, "max_new_tokens": all_equal})
        for each, run in generators.items()
    }
    if work.batch > 1:
        each, run = next(reversed(generators.items()))
        name = f"max_new_tokens {each}, rows of {some_shorter[0]} to {work.tokens} tokens"
        runs[name] = partial(run, {"source": source, "max_new_tokens": some_shorter})
    ids = [np.asarray(run()["ids"])[:, 0, : work.tokens] for run in runs.values()]
    assert (ids[0] > 0).all()
    np.testing.assert_array_equal(ids[0], ids[1])
    if work.batch > 1 and work.num_beams == 1:  # shorter hypotheses may have better beginnings
        is_generated = np.arange(work.tokens) < some_shorter[:, None]
        np.testing.assert_array_equal(ids[-1], np.where(is_generated, ids[0], 0))
    return measure_here({**runs, LIMIT: limit(work)}, rounds)


def run_keras(generator, weights):
    """Returns a function that generates with the Keras model."""
    return generator.predict_on_batch


def run_saved_model(generator, weights):
    """Returns a function that generates with a SavedModel."""
    with tempfile.TemporaryDirectory() as folder:
        save_signatures([make_signature(generator)], folder)
        loaded = tf.saved_model.load(folder)
    run = loaded.signatures["generate"]
    return lambda inputs, loaded=loaded: {
        name: x.numpy() for name, x in run(**tree_tensors(inputs)).items()
    }


def run_tflite(generator, weights):
    """Returns a function that generates with a TFLite file."""
    file = write_model(convert([make_signature(generator)], weights))
    interpreter = Interpreter(model_content=file, num_threads=2)
    run = interpreter.get_signature_runner("generate")
    return lambda inputs, keep=interpreter: run(**inputs)


def tree_tensors(inputs):
    """Returns the inputs as tensors."""
    return {name: tf.constant(x) for name, x in inputs.items()}


RUNTIMES = {"keras": run_keras, "saved_model": run_saved_model, "tflite": run_tflite}

if __name__ == "__main__":
    main()
