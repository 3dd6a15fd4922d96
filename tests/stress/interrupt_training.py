"""Interrupts small trainings at random moments and compares their ends with undisturbed ones.

    python tests/stress/interrupt_training.py                  # 50 trainings, killed 1 to 4 times
    python tests/stress/interrupt_training.py --runs 2 --only rnn-average
    python tests/stress/interrupt_training.py --signal INT --runs 4
    python tests/stress/interrupt_training.py --full-disk 5    # as root: mounts a small tmpfs
    python tests/stress/interrupt_training.py --at-writes 5    # strace: at each 5th such call
    KERAS_BACKEND=jax python tests/stress/interrupt_training.py --only transformer

Each training is the command `keras-attention train` in a process of its own, with SIGKILL (or
another signal) sent at a random moment, and run again until it ends. After each epoch a process
writes the SHA-256 of the batches that the model got, of its variables, and of the optimizer and
seeds; a repeated epoch must have those of the undisturbed training. At the end, the history, the
score and the weights of the saved task must be equal too, and no other file may be left. The
exit status is 0 if all are.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OMP_NUM_THREADS", "1")

DATA = "--source s --target t --valid-source vs --valid-target vt --tokenizer characters"
DATA += " --bleu-tokenize char"  # after so few epochs, words have no score to compare
SMALL = f"{DATA} --batch-size 8 --learning-rate 0.02 --warmup-steps 5 --epochs 5 --max-length 8"
RNN = f"{SMALL} --units 32 --embedding-dim 16 --dropout 0.2"
TRANSFORMER = f"{SMALL} --model transformer --dropout 0.2"
CONFIGURATIONS = {
    "rnn-average": f"{RNN} --average-checkpoints 3 --patience 3",
    "rnn-ema-xla": f"{RNN} --ema-momentum 0.9 --jit-compile",
    "transformer-r-drop-bfloat16": f"{TRANSFORMER} --r-drop-alpha 1 --bfloat16",
    "transformer-risk": f"{DATA} --batch-size 18 --epochs 3 --max-length 8 --risk-weight 0.1"
    " --learning-rate 0.001 --warmup-steps 5 --start-from trained",
    "transformer": TRANSFORMER,
    "rnn-scheduled-sampling": RNN,
}
ON_TENSORFLOW = [name for name in CONFIGURATIONS if name != "transformer"][:4]


def write_data(folder):
    """Writes words, and their last letters four times."""
    rng = random.Random(0)
    for prefix, count in (("", 96), ("v", 8)):
        words = ["".join(rng.choices("abc", k=rng.randint(3, 7))) for _ in range(count)]
        (folder / f"{prefix}s").write_text("".join(f"{word}\n" for word in words))
        (folder / f"{prefix}t").write_text("".join(f"{word[-1] * 4}\n" for word in words))


def digest(arrays):
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return total.hexdigest()[:16]


def train(name, output, log):
    """Runs the command, and appends hashes to `log` after each epoch; the body of a process."""
    import keras
    import numpy as np

    from keras_attention.cli import main
    from keras_attention.cli import train as command
    from keras_attention.models.transformer_config import SIZES
    from keras_attention.recipes import candidates, checkpoint
    from keras_attention.utils import batches

    small = {"num_layers": 1, "hidden_dim": 16, "intermediate_dim": 16, "num_heads": 2}
    SIZES["tiny"] = type(SIZES["tiny"])(**{**vars(SIZES["tiny"]), **small})
    seen = {}

    def record(cls):
        original = cls.__getitem__

        def get(self, index):
            batch = original(self, index)
            seen[self.epoch, index] = digest(map(np.asarray, keras.tree.flatten(batch)))
            return batch

        cls.__getitem__ = get

    record(batches.ShuffledBatches)
    record(candidates.CandidateBatches)
    save = checkpoint.Checkpoints.save

    def save_and_log(self, state, progress):
        number = progress.epoch
        read = [value for key, value in sorted(seen.items()) if key[0] == number - 1]
        hashes = [hashlib.sha256("".join(read).encode()).hexdigest()[:16]]
        hashes += [
            digest(state[part]) for part in (checkpoint.MODEL_FILE, checkpoint.TRAINING_FILE)
        ]
        content = {"epoch": number, "hashes": hashes, "history": progress.history}
        with open(log, "a") as file:
            file.write(json.dumps(content) + "\n")
        save(self, state, progress)

    checkpoint.Checkpoints.save = save_and_log
    if name == "rnn-scheduled-sampling":
        from keras_attention.models import seq2seq
        from keras_attention.training import LinearDecay

        def build(options, architecture, source, target):
            schedule = LinearDecay(c=0.02)
            return seq2seq(source, target, 16, 32, dropout=0.2, scheduled_sampling=schedule)

        command._build_rnn = build
    return main(["train", *CONFIGURATIONS[name].split(), "--output", str(output)])


def start(name, output, log, printed, is_stopped=False):
    """Starts a training in a fork of this process, which has imported what it needs."""
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        with open(printed, "a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if is_stopped:
            os.kill(os.getpid(), signal.SIGSTOP)
        status = train(name, output, log)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def wait(process, seconds=None):
    """Returns the exit status, negative for a signal; None if it runs longer than `seconds`."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() > end:
            return None
        time.sleep(0.005)


def result(output, log):
    """Returns hashes and history by epoch, the score, and the weights of the saved task."""
    epochs = {}
    for line in log.read_text().splitlines():
        try:
            content = json.loads(line)
        except ValueError:  # the line was cut by a kill
            continue
        epochs.setdefault(content["epoch"], []).append([content["hashes"], content["history"]])
    score = json.loads((output / "training.json").read_text())
    del score["run_id"]
    import h5py

    weights = []
    with zipfile.ZipFile(output / "model.keras") as archive:
        with archive.open("model.weights.h5") as file, h5py.File(file) as group:
            read = lambda name, item: weights.append((name, item[()].tobytes().hex()))  # noqa: E731
            group.visititems(lambda name, item: hasattr(item, "dtype") and read(name, item))
    return epochs, score, hashlib.sha256(repr(sorted(weights)).encode()).hexdigest()[:16]


def compare(name, whole, output, log):
    """Returns what differs from the undisturbed training."""
    epochs, score, weights = result(output, log)
    differences = []
    for epoch, (expected, *_) in whole[0].items():
        for got in epochs.get(epoch, [None]):
            if got != expected:
                differences.append(f"epoch {epoch}: {got} instead of {expected}")
    if epochs.keys() != whole[0].keys():
        differences.append(f"epochs {sorted(epochs)}")
    if (score, weights) != whole[1:]:
        differences.append(f"{score}, {weights} instead of {whole[1:]}")
    hidden = [path.name for path in output.parent.iterdir() if path.name.startswith(".")]
    if hidden:
        differences.append(f"left: {hidden}")
    return differences


def is_finished(output, printed):
    """True if the training had ended when the signal came, so that there is nothing to resume."""
    return "which holds a trained task" in printed.read_text() and (output / "task.json").exists()


def disturb(name, number, signal_number, duration, rng):
    """Trains with one to four signals; returns the folder and how many signals it got."""
    folder, signals = Path(f"{name}-{number}").absolute(), 0
    output, log, printed = folder / "model", Path(f"{folder}.jsonl"), Path(f"{folder}.txt")
    while not signals:  # again and earlier if the training ended before its first signal
        shutil.rmtree(folder, ignore_errors=True)
        for file in (log, printed):
            file.unlink(missing_ok=True)
        folder.mkdir()
        for _ in range(rng.randint(1, 4)):
            process = start(name, output, log, printed)
            if wait(process, rng.uniform(0.2, 1.0) * duration) is not None:
                break
            os.kill(process, signal_number)
            signals += 1
            wait(process)
        duration *= 0.7
    for _ in range(3):
        status = wait(start(name, output, log, printed))
        if status == 0 or is_finished(output, printed):
            return output, log, signals
    raise RuntimeError(f"{folder}: status {status}\n{printed.read_text()[-2000:]}")


def fill_disk(name, number, rng):
    """Trains on a full disk, then once there is room; returns the folder and the failures."""
    folder = Path(f"{name}-{number}").absolute()
    folder.mkdir()
    log, printed = Path(f"{folder}.jsonl"), Path(f"{folder}.txt")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True)
    try:
        filler = folder / "filler"
        filler.write_bytes(bytes(4 * 2**20 - rng.randint(50, 900) * 1024))
        status = wait(start(name, folder / "model", log, printed))
        filler.unlink()
        failures = int(status != 0)
        if status not in (0, 2):
            raise RuntimeError(f"{folder}: status {status}\n{printed.read_text()[-2000:]}")
        if status:
            status = wait(start(name, folder / "model", log, printed))
        if status:
            raise RuntimeError(f"{folder}: status {status}\n{printed.read_text()[-2000:]}")
        shutil.copytree(folder / "model", folder.with_suffix(".copy") / "model")
        left = [path.name for path in folder.iterdir() if path.name != "model"]
        assert not left, left
    finally:
        subprocess.run(["umount", folder], check=True)
    return folder.with_suffix(".copy") / "model", log, failures


WRITES = "fsync,rename,renameat2,mkdir,rmdir,unlink,unlinkat"


def kill_at_write(name, number):
    """Kills a training at its `number`-th call of one of `WRITES`, then resumes it.

    Returns the folder and how many kills there were, 0 if there are fewer calls.
    """
    folder = Path(f"{name}-write-{number}").absolute()
    folder.mkdir()
    output, log, printed = folder / "model", Path(f"{folder}.jsonl"), Path(f"{folder}.txt")
    process = start(name, output, log, printed, is_stopped=True)
    inject = f"inject={WRITES}:signal=KILL:when={number}"
    command = ["strace", "-f", "-p", str(process), "-e", f"trace={WRITES}", "-e", inject]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert "attached" in strace.stderr.readline()
        os.kill(process, signal.SIGCONT)
        strace.stderr.read()
    killed = int(wait(process) == -signal.SIGKILL)
    status = wait(start(name, output, log, printed)) if killed else 0
    if status and not is_finished(output, printed):
        raise RuntimeError(f"{folder}: status {status}\n{printed.read_text()[-2000:]}")
    return output, log, killed


def run(name, options, rng):
    """Runs the trainings of one configuration; returns how many ended differently."""
    whole_folder = Path(f"{name}-whole").absolute()
    whole_folder.mkdir()
    log, printed = Path(f"{whole_folder}.jsonl"), Path(f"{whole_folder}.txt")
    begin = time.monotonic()
    status = wait(start(name, whole_folder / "model", log, printed))
    duration = time.monotonic() - begin
    if status:
        raise RuntimeError(f"{whole_folder}: status {status}\n{printed.read_text()[-2000:]}")
    whole = result(whole_folder / "model", log)
    number = getattr(signal, f"SIG{options.signal}")
    bad = interruptions = runs = 0
    while options.at_writes or runs < (options.full_disk or options.runs):
        if options.at_writes:
            output, log, count = kill_at_write(name, 1 + options.at_writes * runs)
        elif options.full_disk:
            output, log, count = fill_disk(name, runs, rng)
        else:
            output, log, count = disturb(name, runs, number, duration, rng)
        differences = compare(name, whole, output, log)
        for difference in differences:
            print(f"{name} {runs}: {difference}", flush=True)
        bad += bool(differences)
        runs += 1
        interruptions += count
        if options.at_writes and not count:
            break
    what = f"SIG{options.signal}"
    if options.at_writes or options.full_disk:
        what = "kills at a write" if options.at_writes else "full disks"
    print(f"{name}: {runs} trainings, {interruptions} {what}, {bad} ended differently", flush=True)
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10, help="trainings per configuration [10]")
    parser.add_argument("--signal", default="KILL", help="KILL, TERM or INT [KILL]")
    parser.add_argument("--full-disk", type=int, default=0, help="trainings on a full disk")
    parser.add_argument("--at-writes", type=int, default=0, help="kill at each n-th write")
    parser.add_argument("--only", nargs="+", choices=CONFIGURATIONS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    # imported once; forks need it, and none of it starts a thread
    import keras_attention.cli.train
    import keras_attention.recipes  # noqa: F401

    rng = random.Random(options.seed)
    folder = tempfile.mkdtemp(prefix="interrupt-")
    os.chdir(folder)
    write_data(Path())
    names = options.only or ON_TENSORFLOW
    if "transformer-risk" in names:  # trains a trained model further
        if status := wait(start("transformer", "trained", "trained.jsonl", "trained.txt")):
            raise RuntimeError(f"status {status}\n{Path('trained.txt').read_text()[-2000:]}")
    bad = sum(run(name, options, rng) for name in names)
    if not bad:
        os.chdir("/")
        shutil.rmtree(folder)
    else:
        print(f"see {folder}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
