"""Entry point and parser of the command `keras-attention`.

This package is outside `keras_attention` and imports neither it nor Keras, so that
`keras-attention --help` is fast, and so that TensorFlow's log can be silenced before TensorFlow is
imported: TensorFlow 2.21 writes to standard error during its import, whatever
TF_CPP_MIN_LOG_LEVEL says (https://github.com/tensorflow/tensorflow/issues/100442).
"""

import faulthandler
import os
import sys

from _keras_attention_cli.parser import parse


def main() -> int:
    """Runs the command line. With TF_CPP_MIN_LOG_LEVEL set, TensorFlow's log is shown."""
    options = parse()
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        silence_native_log()
    from keras_attention.cli import run

    return run(options)


def silence_native_log() -> None:
    """Points C++'s standard error at /dev/null, and leaves Python's where it was.

    What Python writes to `sys.stderr` is still shown, and so is its traceback after a crash.
    """
    python_stderr = os.dup(2)
    encoding = getattr(sys.stderr, "encoding", "utf-8")
    sys.stderr = os.fdopen(python_stderr, "w", buffering=1, encoding=encoding, errors="replace")
    faulthandler.enable(sys.stderr)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
