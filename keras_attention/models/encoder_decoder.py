"""The one model class: an encoder, a decoder, and the graph between them."""

from typing import Any

import keras
import numpy as np

from keras_attention.generation import Generated, Generator, Greedy, Strategy


@keras.saving.register_keras_serializable(package="keras_attention")
class EncoderDecoder(keras.Model):
    """A functional Keras model from `{"source", "target"}` to the logits of the next tokens.

    `source` is `(batch, source)`, `target` is `(batch, target)` and begins with START; both are
    int32 and padded with 0, from which the masks are made. The output is `(batch, target,
    vocabulary)`. It trains with `fit` and `keras_attention.training.MaskedCrossEntropy`.

    Args:
        encoder: layer `encoder(source) -> encoded`, with `compute_mask(source)`.
        decoder: layer that keeps the decoder contract: `call`, `start`, `step`.

    Example:

    >>> import numpy as np
    >>> from keras_attention.models import seq2seq
    >>> model = seq2seq(12, 14, units=8, embedding_dim=8)
    >>> source = np.array([[5, 6, 2], [7, 2, 0]])
    >>> logits = model({"source": source, "target": np.array([[1, 4], [1, 5]])})
    >>> tuple(logits.shape)
    (2, 2, 14)
    >>> model.generate(source).ids.shape
    (2, 1, 64)
    """

    def __init__(self, encoder: keras.layers.Layer, decoder: keras.layers.Layer, **kwargs):
        source = keras.Input((None,), dtype="int32", name="source")
        target = keras.Input((None,), dtype="int32", name="target")
        logits = decoder(target, encoder(source), encoder.compute_mask(source))
        super().__init__(inputs={"source": source, "target": target}, outputs=logits, **kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self._generators = _Generators()

    def generate(
        self, source: Any, strategy: Strategy | None = None, attention: bool = False
    ) -> Generated:
        """Generates from source ids; compiled once for each strategy and shape.

        Args:
            source: `(batch, source)` int, padded with 0.
            strategy: `Greedy`, `Beam` or `Sample`; None is `Greedy()`.
            attention: whether to return where each token looked.

        Returns:
            `Generated` of NumPy arrays.

        Raises:
            ValueError: if the source is not of rank 2 or of length 0, or an id is not in the
                vocabulary.
        """
        source = np.asarray(source)
        size = self.encoder.vocabulary_size
        rows = source.ndim == 2 and source.shape[1]
        if not rows or (source.size and not 0 <= source.min() <= source.max() < size):
            raise ValueError(
                f"source: expected ids (batch, source) from 0 to {size - 1}, one at least in a "
                "row. Received: "
                f"shape={source.shape}"
                + (f", ids from {source.min()} to {source.max()}" if source.size else "")
            )
        return self._generators.get(self, strategy or Greedy(), attention).generate(source)

    def get_config(self):
        return {
            "name": self.name,
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        made = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "decoder")
        }
        return cls(**{**config, **made})


class _Generators:
    """Compiled generators by strategy. No dict on the model itself: Keras would save it."""

    def __init__(self):
        self._made = {}

    def get(self, model, strategy, attention):
        key = (repr(strategy), attention)
        if key not in self._made:
            self._made[key] = Generator(model, strategy, attention)
        return self._made[key]
