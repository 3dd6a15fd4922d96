"""An encoder that says what a text is, or what each of its tokens is."""

from typing import Any

from keras_attention.layers import ClassifierHead, TaggerHead, TextEncoder
from keras_attention.models.encoder_only import EncoderOnly, text_encoder
from keras_attention.models.sizes import size_of


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
    """Builds a classifier of texts: ids `(batch, length)` to logits `(batch, num_classes)`.

    It trains with `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`.

    Args:
        vocabulary_size: number of ids.
        num_classes: how many there are.
        size: as `transformer` names them.
        pooling: how a sequence becomes one vector: `"mean"`, `"first"` or `"attention"`; see
            `layers.Pooling`.
        dropout: rate in the encoder and before the logits; `None` is the size's.
        encoder: a trained one in place of a new one: `model.encoder` of any model here, a
            Transformer or an RNN. It is not copied: training changes it there too.
        name: of the model.
        **options: `num_layers`, `hidden_dim`, `intermediate_dim`, `num_heads`, `norm`, `positions`,
            `max_length` and options of `layers.EncoderBlock`, as `transformer` takes them,
            for a new encoder.

    Returns:
        An `EncoderOnly`, not compiled.

    Raises:
        ValueError: for an unknown size, pooling or option, or an encoder of another vocabulary or
            with options beside it.

    References:
        Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762); Devlin
        et al. 2019, [BERT](https://arxiv.org/abs/1810.04805), section 4.

    Example:

    >>> model = classifier(12, num_classes=3, num_layers=1, pooling="attention")
    >>> model.output_shape
    (None, 3)
    """
    encoder, rate = _encoder(vocabulary_size, size, dropout, encoder, options)
    head = ClassifierHead(num_classes, pooling, rate, name="head")
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
    """Builds a tagger of tokens: ids `(batch, length)` to logits `(batch, length, num_classes)`.

    It trains with `keras.losses.SparseCategoricalCrossentropy(from_logits=True,
    reduction="mean_with_sample_weight")` and a sample weight for each token, 0 for what has no tag:
    padding, END, and what continues a word. `keras_attention.text.tagged_batches` makes them.

    Args:
        vocabulary_size: number of ids.
        num_classes: how many there are.
        size: as `transformer` names them.
        dropout: rate in the encoder and before the logits; `None` is the size's.
        encoder: a trained one in place of a new one, as for `classifier`.
        name: of the model.
        **options: for a new encoder, as for `classifier`.

    Returns:
        An `EncoderOnly`, not compiled.

    Raises:
        ValueError: as `classifier` does.

    Example:

    >>> tagger(12, num_classes=3, num_layers=1).output_shape
    (None, None, 3)
    """
    encoder, rate = _encoder(vocabulary_size, size, dropout, encoder, options)
    return EncoderOnly(encoder, TaggerHead(num_classes, rate, name="head"), name=name)


def _encoder(vocabulary_size, size, dropout, encoder, options):
    """The encoder, new or given, and the rate of dropout before the logits."""
    shape = {
        key: options.pop(key, None)
        for key in ("num_layers", "hidden_dim", "intermediate_dim", "num_heads")
    }
    sizes = size_of(size, dropout=dropout, **shape)
    if encoder is None:
        return text_encoder(vocabulary_size, sizes, **{"norm": "pre", **options}), sizes.dropout
    given = sorted({key for key, value in shape.items() if value is not None} | set(options))
    if given:
        raise ValueError(
            f"encoder: expected no option of a new encoder beside it. Received: {given}"
        )
    if encoder.vocabulary_size != vocabulary_size:
        raise ValueError(
            f"encoder: expected one of vocabulary_size={vocabulary_size}. "
            f"Received: an encoder of {encoder.vocabulary_size} ids"
        )
    return encoder, sizes.dropout
