"""Prints the table of docs/distribution.md: `PYTHONPATH=tests python -m distributed.table`."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from distributed.test_jax import Training, free_port

MODEL = {"distribution": "model"}
# setting, processes, devices of each, options of both trainings, options of the distributed one
ROWS = [
    ("`DataParallel`, 2 devices, `transformer`", 1, 2, {}, {"distribution": "data"}),
    ("`ModelParallel`, 2 x 2 devices, `transformer`", 1, 4, {}, MODEL),
    ("`ModelParallel`, 2 x 2 devices, `causal_lm`", 1, 4, {"family": "causal_lm"}, MODEL),
    ("`ModelParallel`, 2 x 2 devices, `seq2seq`", 1, 4, {"family": "seq2seq"}, MODEL),
    (
        "the same with `data_parallel_dim_name`, loss with `block_size`, `transformer`",
        1, 4, {"block_size": 8}, {"distribution": "fully_sharded"},
    ),
    (
        "2 processes, `DataParallel`, dropout 0.3, `transformer`",
        2, 1, {"dropout": 0.3}, {"distribution": "data"},
    ),
]  # fmt: skip


def main() -> None:
    print("| setting | greatest difference of a weight |\n| --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for setting, processes, devices, options, others in ROWS:
            options = {"rows": 11, **options}
            one = Training(Path(folder, "one.npz"), **options).result()
            port = free_port()
            trainings = [
                Training(
                    Path(folder, f"{n}.npz"), devices, processes=processes, process=n, port=port,
                    **options, **others,
                )
                for n in range(processes)
            ]  # fmt: skip
            received = [training.result() for training in trainings][0]
            print(f"| JAX, {setting} | {greatest_difference(received, one):.1e} |", flush=True)
        outputs = {}
        for name in ("one", "mirrored"):
            path = Path(folder, f"{name}.npz")
            script = Path(__file__).with_name("train_on_tensorflow.py")
            subprocess.run([sys.executable, script, path, "--strategy", name], check=True)
            with np.load(path) as arrays:
                outputs[name] = dict(arrays)
        for family in ("transformer", "seq2seq"):
            one, mirrored = (
                {name: x for name, x in each.items() if name.startswith(family)}
                for each in (outputs["one"], outputs["mirrored"])
            )
            setting = f"TensorFlow, `MirroredStrategy`, 2 devices, `{family}`"
            print(f"| {setting} | {greatest_difference(mirrored, one):.1e} |", flush=True)


def greatest_difference(received: dict, expected: dict) -> float:
    names = [name for name in expected if "weight_" in name]
    return max(float(np.abs(received[name] - expected[name]).max()) for name in names)


if __name__ == "__main__":
    main()
