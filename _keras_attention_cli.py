"""Starts the command `keras-attention` without TensorFlow's log.

It stands outside the package because importing the package imports Keras, and TensorFlow 2.21
writes notes on the machine to standard error while it is imported, whatever TF_CPP_MIN_LOG_LEVEL
says (https://github.com/tensorflow/tensorflow/issues/100442).
"""

import faulthandler
import os
import sys


def main() -> int:
    """Runs the command line. With TF_CPP_MIN_LOG_LEVEL set, TensorFlow's log is shown."""
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        drop_native_log()
    from keras_attention.cli import main as run

    return run()


def drop_native_log() -> None:
    """Gives C++ another file descriptor 2 than Python's standard error.

    What Python prints to `sys.stderr`, and where it stood if the process crashes, is still seen.
    """
    kept = os.dup(2)
    sys.stderr = os.fdopen(kept, "w", buffering=1, encoding=sys.stderr.encoding, errors="replace")
    faulthandler.enable(sys.stderr)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
