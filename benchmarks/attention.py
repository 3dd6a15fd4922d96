"""Growth of one attention layer with the length: time and memory, forward and backward.

Explicit and fused attention of this library and PyTorch's kernel take turns, each in a process of
its own for its peak memory: `python benchmarks/attention.py --lengths 1024 2048 4096`.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HEADS, WIDTH = 8, 64
KINDS = ("fused", "explicit", "torch")


def make_step(kind: str, length: int):
    """Returns a function that computes output and gradients once."""
    x = np.random.default_rng(0).normal(size=(1, HEADS, length, WIDTH)).astype("float32")
    if kind == "torch":
        import torch

        q, k, v = (torch.tensor(x, requires_grad=True) for _ in range(3))
        attend = torch.nn.functional.scaled_dot_product_attention
        return lambda: attend(q, k, v, is_causal=True).sum().backward()
    import tensorflow as tf

    from keras_attention.ops import scores
    from keras_attention.ops.attention import AttentionOptions, Memory, explicit_attention
    from keras_attention.ops.attention_mask import AttentionMask
    from keras_attention.ops.fused import FusedAttention

    q, k, v = (tf.Variable(x) for _ in range(3))

    def score(query, keys, positions):
        return scores.scaled_dot(query, keys)

    @tf.function
    def step():
        options = AttentionOptions(AttentionMask(causal=True))
        with tf.GradientTape() as tape:
            if kind == "fused":
                output = FusedAttention(score)(q, Memory(v, k), options)
            else:
                output, _ = explicit_attention(score, q, Memory(v, k), options)
            total = tf.reduce_sum(output)
        return tape.gradient(total, [q, k, v])

    return lambda: step()[0].numpy()


def measure(kind: str, length: int, rounds: int) -> dict:
    """Returns median milliseconds and the peak memory above that of a short sequence, in MB."""
    make_step(kind, 64)()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step, times = make_step(kind, length), []
    step()
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - start))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"kind": kind, "length": length, "memory": memory / 1024,
            "median": statistics.median(times), "fastest": min(times)}  # fmt: skip


def draw(rows: list[dict], file: Path) -> None:
    """Draws time and memory against the length."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), constrained_layout=True)
    for axis, key, label in zip(axes, ("fastest", "memory"), ("ms", "MB"), strict=True):
        for kind in KINDS:
            points = [(row["length"], row[key]) for row in rows if row["kind"] == kind]
            axis.plot(*zip(*points, strict=True), marker="o", label=kind)
        axis.set(xscale="log", yscale="log", xlabel="length", ylabel=label)
        axis.legend()
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-explicit", type=int, default=4096, help="longest explicit one")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("KIND", "LENGTH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, length = options.one
        print(json.dumps(measure(kind, int(length), options.rounds)))
        return
    rows = []
    for length in options.lengths:
        for kind in KINDS:
            if kind == "explicit" and length > options.max_explicit:
                continue
            command = [sys.executable, __file__, "--one", kind, str(length)]
            command += ["--rounds", str(options.rounds)]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(result.stdout.splitlines()[-1]))
            row = rows[-1]
            print(f"{length:6} {kind:9} {row['fastest']:8.0f} ms fastest, {row['median']:8.0f} ms "
                  f"median, {row['memory']:6.0f} MB", flush=True)  # fmt: skip
    if options.picture:
        draw(rows, options.picture)


if __name__ == "__main__":
    main()
