"""The encoder that fills in what is hidden, to be pretrained on text without labels."""

from typing import Any

import keras

from keras_attention.layers import TextEncoder
from keras_attention.layers.embedding import check_output
from keras_attention.models.encoder_only import text_encoder
from keras_attention.models.sizes import size_of


@keras.saving.register_keras_serializable(package="keras_attention")
class MaskedLM(keras.Model):
    """A functional Keras model from ids to logits `(batch, length, vocabulary_size)`.

    It says of every place which token stands there. `keras_attention.training.MaskedTexts` hides
    tokens and asks for them. The output is the embedding's.

    Args:
        encoder: a `TextEncoder` whose embedding has an output, and whose body gives vectors as wide
            as the embedding's.

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
    vocabulary_size: int,
    size: str = "tiny",
    *,
    num_layers: int | None = None,
    hidden_dim: int | None = None,
    intermediate_dim: int | None = None,
    num_heads: int | None = None,
    dropout: float | None = None,
    norm: str = "pre",
    positions: str | None = "sinusoidal",
    max_length: int = 512,
    name: str = "masked_lm",
    **block: Any,
) -> MaskedLM:
    """Builds an encoder with its embedding as its output, for pretraining (Devlin et al. 2019).

    What comes after takes `model.encoder`: `classifier(vocabulary, classes,
    encoder=model.encoder)`, `tagger`, or `EncoderDecoder(model.encoder, decoder)` for a translator.
    The hidden token is `[UNK]`, so the vocabulary is the tokenizer's, before and after.

    Args:
        vocabulary_size: number of ids.
        size: of `models.transformer`'s table; the next five replace what it says.
        num_layers: blocks.
        hidden_dim: width of the model.
        intermediate_dim: hidden width of the feed-forward layers.
        num_heads: heads of the attention.
        dropout: rate on the embedding and on what every sub-layer gives.
        norm: `"pre"`, `"post"` or `"sandwich"`: see `layers.Residual`.
        positions: of `models.transformer`'s table.
        max_length: positions in the learned table.
        name: of the model.
        **block: further options of `layers.EncoderBlock`.

    Returns:
        A `MaskedLM`, not compiled. It trains with
        `keras_attention.training.MaskedCrossEntropy`.

    Raises:
        ValueError: for an unknown size or option, or heads that do not divide the width.

    References:
        Devlin et al. 2019, [BERT](https://arxiv.org/abs/1810.04805).

    Example:

    >>> masked_lm(12, num_layers=1, activation="gelu").output_shape
    (None, None, 12)
    """
    sizes = size_of(
        size,
        num_layers=num_layers,
        hidden_dim=hidden_dim,
        intermediate_dim=intermediate_dim,
        num_heads=num_heads,
        dropout=dropout,
    )
    encoder = text_encoder(
        vocabulary_size, sizes, positions, max_length, output="tied", norm=norm, **block
    )
    return MaskedLM(encoder, name=name)
