"""Encoder-decoder model."""

from typing import Any

import keras

from keras_attention.decoders import TransformerDecoder
from keras_attention.layers import TextEncoder
from keras_attention.models.generative_model import GenerativeModel
from keras_attention.ops.segments import source_segments
from keras_attention.types import Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class EncoderDecoder(GenerativeModel):
    """Encoder-decoder model, a functional Keras model from `{"source", "target"}` to logits.

    `source` is what the encoder reads: ids `(batch, source)` or images `(batch, height, width, 3)`.
    `target` are ids `(batch, target)` that begin with START. Ids are int32 and padded with 0; the
    masks are computed from them. The output is `(batch, target, vocabulary_size)`, the logits of
    the next ids. Train it with `fit` and `keras_attention.training.MaskedCrossEntropy`.

    Args:
        encoder: layer `encoder(source) -> encoded`, such as `layers.TextEncoder` or
            `layers.ImageEncoder`. It also has `compute_mask(source)`, `source_input()`, which
            returns the `keras.Input` of a source, and `check(source)`, which raises a `ValueError`
            for an invalid one.
        decoder: a decoder of `keras_attention.decoders`, or another layer that follows the protocol
            `keras_attention.types.Decoder`.
        packed: whether a row may hold several pairs, as those of `text.packed_pair_batches`. Each
            pair is processed as if it were alone. Requires a `TextEncoder` with a
            `TransformerEncoder`, and a `TransformerDecoder`. Generation takes one source per row in
            any case.

    Raises:
        ValueError: If `packed` is set for another encoder or decoder.

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

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        packed: bool = False,
        **kwargs: Any,
    ):
        if packed and not (
            isinstance(encoder, TextEncoder) and isinstance(decoder, TransformerDecoder)
        ):
            raise ValueError(
                "`packed` requires a `TextEncoder` and a `TransformerDecoder`. "
                f"Received: encoder={encoder!r}, decoder={decoder!r}"
            )
        source = encoder.source_input()
        target = keras.Input((None,), dtype="int32", name="target")
        options = {"source_segments": source_segments(source)} if packed else {}
        mask = encoder.compute_mask(source)
        logits = decoder(target, encoder(source, **options), mask, **options)
        inputs = {"source": source, "target": target}
        super().__init__(encoder, decoder, inputs=inputs, outputs=logits, **kwargs)
        self.packed = packed

    def output_vectors(self, inputs: dict[str, Tensor], training: bool) -> Tensor:
        source = inputs["source"]
        options = {"source_segments": source_segments(source)} if self.packed else {}
        return self.decoder.output_vectors(
            inputs["target"],
            self.encoder(source, **options, training=training),
            self.encoder.compute_mask(source),
            **options,
            training=training,
        )

    def get_config(self):
        return {
            "name": self.name,
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "packed": self.packed,
            "share_embeddings": getattr(self.encoder, "embedding", None) is self.decoder.embedding,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        shared, encoder, decoder = map(config.pop, ("share_embeddings", "encoder", "decoder"))
        encoder = keras.saving.deserialize_keras_object(encoder, custom_objects)
        if shared:  # the decoder takes the encoder's embedding, not a copy
            decoder_config = {**decoder["config"], "embedding": encoder.embedding}
            decoder = {**decoder, "config": decoder_config}
        decoder = keras.saving.deserialize_keras_object(decoder, custom_objects)
        return cls(encoder, decoder, **config)
