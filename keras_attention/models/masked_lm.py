"""Masked language model, which pretrains an encoder on unlabeled text."""

from typing import Any

import keras

from keras_attention.layers import TextEncoder
from keras_attention.layers.embedding import check_output
from keras_attention.models.transformer_config import TransformerConfig
from keras_attention.utils.compiled import recompile_on_layer_change


@keras.saving.register_keras_serializable(package="keras_attention")
@recompile_on_layer_change
class MaskedLM(keras.Model):
    """Masked language model, a functional Keras model from ids to logits of every token.

    It predicts the token of every position, `(batch, length, vocabulary_size)`, from ids of which
    `keras_attention.training.MaskedTexts` has masked some. The output weights are those of the
    encoder's embedding.

    Args:
        encoder: a `TextEncoder` whose embedding has an output, and whose body's outputs are as wide
            as the embedding.

    Example:

    >>> import numpy as np
    >>> model = masked_lm(12, num_layers=1)
    >>> tuple(model(np.array([[5, 3, 2], [7, 2, 0]])).shape)
    (2, 3, 12)
    """

    def __init__(self, encoder: TextEncoder, **kwargs: Any):
        check_output(encoder.embedding)
        ids = keras.Input((None,), dtype="int32", name="ids")
        logits = encoder.embedding.logits(encoder(ids)["sequence"])
        super().__init__(inputs=ids, outputs=logits, **kwargs)
        self.encoder = encoder

    def get_config(self):
        return {"name": self.name, "encoder": keras.saving.serialize_keras_object(self.encoder)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = keras.saving.deserialize_keras_object(config["encoder"], custom_objects)
        return cls(encoder, name=config["name"])


def masked_lm(
    vocabulary_size: int, size: str = "tiny", *, name: str = "masked_lm", **options: Any
) -> MaskedLM:
    """Builds a Transformer encoder for pretraining (Devlin et al. 2019).

    The output weights are those of the embedding. After pretraining, pass `model.encoder` to
    `classifier` or `tagger`, or to `EncoderDecoder(model.encoder, decoder)` for a translator.
    Masked tokens are replaced by `[UNK]`, so pretraining adds no token to the vocabulary.

    Args:
        vocabulary_size: number of ids.
        size: `"tiny"`, `"small"`, `"base"` or `"big"`; see `TransformerConfig`.
        name: name of the model.
        **options: arguments of `TransformerConfig` in place of the size's, and arguments of
            `layers.EncoderBlock`.

    Returns:
        A `MaskedLM`, not compiled. Train it with `keras_attention.training.MaskedCrossEntropy`.

    Raises:
        ValueError: If the size or an option is unknown or invalid.

    References:
        Devlin et al. 2019, [BERT](https://arxiv.org/abs/1810.04805).

    Example:

    >>> masked_lm(12, num_layers=1, activation="gelu").output_shape
    (None, None, 12)
    """
    config = TransformerConfig.from_size(size, **options)
    encoder = config.make_encoder(config.make_embedding(vocabulary_size, output="tied"))
    return MaskedLM(encoder, name=name)
