"""Encoder-only models for classifying texts and tagging tokens."""

from typing import Any

from keras_attention.layers import ClassifierHead, TaggerHead, TextEncoder
from keras_attention.models.encoder_only import EncoderOnly
from keras_attention.models.transformer_config import TransformerConfig


def classifier(
    vocabulary_size: int,
    num_classes: int,
    size: str = "tiny",
    *,
    pooling: str = "mean",
    dropout: float | None = None,
    encoder: TextEncoder | None = None,
    name: str = "classifier",
    **options: Any,
) -> EncoderOnly:
    """Builds a text classifier, from ids `(batch, length)` to logits `(batch, num_classes)`.

    Train it with `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`.

    Args:
        vocabulary_size: number of ids.
        num_classes: number of classes.
        size: `"tiny"`, `"small"`, `"base"` or `"big"`; see `TransformerConfig`.
        pooling: reduces a sequence to one vector: `"mean"`, `"first"` or `"attention"`; see
            `layers.Pooling`.
        dropout: dropout rate of the encoder and before the logits; None takes the size's.
        encoder: trained encoder to use instead of a new one, the `.encoder` of another model,
            Transformer or RNN. It is shared, not copied: training changes it in both models.
        name: name of the model.
        **options: options of a new encoder: arguments of `TransformerConfig` in place of the
            size's, and arguments of `layers.EncoderBlock`.

    Returns:
        An `EncoderOnly`, not compiled.

    Raises:
        ValueError: If the size, `pooling` or an option is unknown or invalid, the encoder has
            another vocabulary size, or both an encoder and options of a new one are passed.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762); Devlin
        et al. 2019, [BERT](https://arxiv.org/abs/1810.04805), section 4.

    Example:

    >>> model = classifier(12, num_classes=3, num_layers=1, pooling="attention")
    >>> model.output_shape
    (None, 3)
    """
    config = TransformerConfig.from_size(size, dropout=dropout, **options)
    encoder = _make_or_check_encoder(encoder, vocabulary_size, config, options)
    head = ClassifierHead(num_classes, pooling, config.dropout, name="head")
    return EncoderOnly(encoder, head, name=name)


def tagger(
    vocabulary_size: int,
    num_classes: int,
    size: str = "tiny",
    *,
    dropout: float | None = None,
    encoder: TextEncoder | None = None,
    name: str = "tagger",
    **options: Any,
) -> EncoderOnly:
    """Builds a token tagger, from ids `(batch, length)` to logits `(batch, length, num_classes)`.

    Train it with `keras.losses.SparseCategoricalCrossentropy(from_logits=True,
    reduction="mean_with_sample_weight")` and a sample weight per token, 0 for tokens without a tag:
    padding, END, and all but the first token of a word. `keras_attention.text.tagged_batches` makes
    such batches.

    Args:
        vocabulary_size: number of ids.
        num_classes: number of tags.
        size: `"tiny"`, `"small"`, `"base"` or `"big"`; see `TransformerConfig`.
        dropout: dropout rate of the encoder and before the logits; None takes the size's.
        encoder: trained encoder to use instead of a new one; see `classifier`.
        name: name of the model.
        **options: options of a new encoder; see `classifier`.

    Returns:
        An `EncoderOnly`, not compiled.

    Raises:
        ValueError: As `classifier` raises.

    Example:

    >>> tagger(12, num_classes=3, num_layers=1).output_shape
    (None, None, 3)
    """
    config = TransformerConfig.from_size(size, dropout=dropout, **options)
    encoder = _make_or_check_encoder(encoder, vocabulary_size, config, options)
    return EncoderOnly(encoder, TaggerHead(num_classes, config.dropout, name="head"), name=name)


def _make_or_check_encoder(encoder, vocabulary_size, config, options):
    if encoder is None:
        return config.make_encoder(config.make_embedding(vocabulary_size))
    if options:
        raise ValueError(
            "`encoder` excludes the options of a new encoder. "
            f"Received: encoder={encoder}, {sorted(options)}"
        )
    if encoder.vocabulary_size != vocabulary_size:
        raise ValueError(
            "`encoder` must have the vocabulary size of the model. Received: "
            f"encoder.vocabulary_size={encoder.vocabulary_size}, vocabulary_size={vocabulary_size}"
        )
    return encoder
