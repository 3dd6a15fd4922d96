"""Time of a decoding step by operation, in Keras on TensorFlow or in a TFLite file.

    python benchmarks/decoding_profile.py keras --num-beams 4
    python benchmarks/decoding_profile.py tflite --weights int8

The model has random weights and the size of an OPUS-MT model, and everything runs in one thread.
The encoder is included. Times of Keras are those of TensorFlow's profiler. LiteRT has no profiler
in Python, so `perf` of Linux samples its functions.
"""

import re
import subprocess
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from decoding import OPUS_MT
from keras_attention.export.tflite.conversion import convert
from keras_attention.export.tflite.flatbuffer import write_model
from keras_attention.generation import Generator
from profiler import operation_of, profile
from report import Report, make_parser
from steps.generation import endless_strategy, random_source, random_transformer
from steps.tflite_file import make_signature

# Functions of LiteRT by kind; the first pattern that matches counts.
FUNCTIONS = {
    "products with int8 weights": r"^xnn_q[a-z0-9]+_.*gemm_minmax",
    "float32 products": r"^xnn_f32_gemm|^xnn_f32_[a-z0-9]+_gemm_minmax",
    "rearranging factors for products": r"pack",
    "copies (RESHAPE, caches, WHILE)": r"memmove|memcpy|memset",
    "transposes": r"transpose",
    "other functions of XNNPACK": r"^xnn_|xnnpack",
    "other operators of TFLite": r"^tflite::(reference_)?ops|^tflite::optimized|Eigen",
    "interpreter": r"^tflite",
}
LIBRARIES = "litert", "libc.so"
MAX_ROWS = 15
SIZES = {"num_beams": 4, "batch": 1, **OPUS_MT}


def main():
    parser = make_parser(__doc__, rounds=10, **SIZES)
    parser.add_argument("runtime", choices=list(RUNTIMES))
    parser.add_argument("--weights", default="int8", help="of the TFLite file [int8]")
    parser.add_argument("--file", type=Path, help="a TFLite file to run, without a profile")
    options = parser.parse_args()
    if options.file:
        run_file(options)
        return
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    report = Report(options)
    strategy = endless_strategy(options.num_beams, options.tokens)
    generator = Generator(random_transformer(options), strategy)
    times = RUNTIMES[options.runtime](generator, options)
    steps = options.rounds * options.tokens
    total = sum(times.values())
    rows = [
        {"operation": name, "ms a step": time / steps, "share": f"{time / total:.1%}"}
        for name, time in times.most_common(MAX_ROWS)
    ]
    title = f"{options.runtime}, {options.num_beams} beams, batch {options.batch}"
    report.table(f"{title}, {total / steps:.2f} ms a step", rows)
    report.save()


def profile_keras(generator, options):
    """Returns the milliseconds of all rounds by TensorFlow's operation."""
    inputs = make_inputs(options)
    generator.predict_on_batch(inputs)
    times = Counter()
    run = partial(generator.predict_on_batch, inputs)
    for name, milliseconds in profile(run, options.rounds).items():
        times[operation_of(name)] += milliseconds
    return times


def profile_tflite(generator, options):
    """Returns the milliseconds of all rounds by kind of function in LiteRT."""
    times = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path, samples = Path(folder, "model.tflite"), Path(folder, "samples")
        path.write_bytes(write_model(convert([make_signature(generator)], options.weights)))
        command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "2000", "-o", str(samples)]
        command += ["--", sys.executable, *sys.argv, "--file", str(path)]
        subprocess.run(command, check=True)
        command = ["perf", "script", "-i", str(samples), "-F", "period,ip,sym,dso"]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in lines.splitlines():
        if match := re.match(r"\s*(\d+)\s+\S+ (.*) \((.*)\)$", line):
            period, function, library = match.groups()
            if any(name in library for name in LIBRARIES):
                kinds = (name for name, x in FUNCTIONS.items() if re.search(x, function))
                times[next(kinds, "other functions")] += int(period) / 1e6
    return times


def run_file(options):
    """Generates with a TFLite file."""
    interpreter = Interpreter(model_path=str(options.file), num_threads=1)
    run = interpreter.get_signature_runner("generate")
    for _ in range(options.rounds):
        run(**make_inputs(options))


def make_inputs(options):
    """Returns a batch of random sources, and the number of tokens."""
    limits = np.full(options.batch, options.tokens, "int32")
    return {"source": random_source(options), "max_new_tokens": limits}


RUNTIMES = {"keras": profile_keras, "tflite": profile_tflite}

if __name__ == "__main__":
    main()
