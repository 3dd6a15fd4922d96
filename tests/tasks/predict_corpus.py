"""Runs `predict_files` on two workers, one of which is killed, for `test_corpus.py`.

    python tests/tasks/predict_corpus.py TASK FOLDER MARKER SOURCE...

The worker that removes the file MARKER kills itself in the middle of its output.
"""

import functools
import os
import signal
import sys
from itertools import islice
from pathlib import Path

from keras_attention.tasks import load_task, predict_files


def load(folder, marker):
    task = load_task(folder)
    predict_iterable = task.predict_iterable

    def predict_or_die(*args, **options):
        results = predict_iterable(*args, **options)
        try:
            marker.unlink()
        except FileNotFoundError:
            yield from results
        else:
            yield from islice(results, 2)
            os.kill(os.getpid(), signal.SIGKILL)

    task.predict_iterable = predict_or_die
    return task


if __name__ == "__main__":
    task, folder, marker, *sources = sys.argv[1:]
    predict_files(functools.partial(load, task, Path(marker)), sources, folder, workers=2)
