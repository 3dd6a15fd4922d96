"""TFLite file that generates, of a model with random weights at the size of a benchmark."""

from pathlib import Path
from types import SimpleNamespace

import tensorflow as tf

from keras_attention.export.signatures import Signature
from keras_attention.export.tflite.conversion import convert
from keras_attention.export.tflite.flatbuffer import write_model
from keras_attention.generation import Generator
from steps.generation import endless_strategy, random_transformer


def make_signature(generator: Generator) -> Signature:
    """Returns the signature of generation from ids, with a limit for each row."""
    input_spec = {
        "source": tf.TensorSpec((None, None), tf.int32, name="source"),
        "max_new_tokens": tf.TensorSpec((None,), tf.int32, name="max_new_tokens"),
    }
    return Signature("generate", generator, input_spec)


def write_file(file: Path, options: SimpleNamespace) -> None:
    """Writes the file; `options` has those of `steps.generation`, and weights."""
    strategy = endless_strategy(options.num_beams, options.tokens)
    generator = Generator(random_transformer(options), strategy)
    file.write_bytes(write_model(convert([make_signature(generator)], options.weights)))
