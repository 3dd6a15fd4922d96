"""Generation by several interpreters of a TFLite file, without TensorFlow.

Options: file, batch, source_length, tokens, vocabulary, rows (of a call), interpreters, threads (of
each interpreter).
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def generation(options):
    """Returns a function that generates, each interpreter in a thread of its own."""
    runs = [
        Interpreter(options.file, num_threads=options.threads).get_signature_runner("generate")
        for _ in range(options.interpreters)
    ]
    shape = options.batch, options.source_length
    source = np.random.default_rng(0).integers(4, options.vocabulary, shape, "int32")
    pieces = [source[i : i + options.rows] for i in range(0, options.batch, options.rows)]
    idle = list(runs)

    def call(piece):
        run = idle.pop()
        limits = np.full(len(piece), options.tokens, "int32")
        ids = run(source=piece, max_new_tokens=limits)["ids"]
        idle.append(run)
        return ids

    def run_all():
        with ThreadPoolExecutor(options.interpreters) as pool:
            return np.concatenate(list(pool.map(call, pieces)))

    return run_all
