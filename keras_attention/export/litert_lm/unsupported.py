"""Options of a language model that LiteRT-LM cannot represent."""

from collections.abc import Iterator, Sequence

import keras

from keras_attention.decoders import CausalLMDecoder
from keras_attention.export.litert_lm.sentencepiece import has_own_rules
from keras_attention.export.litert_lm.tokenizer_section import WRITERS
from keras_attention.export.unsupported import check_no_options
from keras_attention.generation import GreedySearch, Sampling, Strategy
from keras_attention.models import CausalLM
from keras_attention.text import SentencePieceTokenizer, Tokenizer


def check_supported(
    model: keras.Model, strategy: Strategy | None, tokenizers: Sequence[Tokenizer]
) -> None:
    """Raises a `ValueError` that names every option that LiteRT-LM cannot represent."""
    options = [
        *_unsupported_in_model(model),
        *_unsupported_in_strategy(strategy),
        *_unsupported_in_tokenizers(tokenizers),
    ]
    check_no_options(
        options,
        "A LiteRT-LM export is for language models with greedy search or sampling and the "
        "tokenizers that docs/export.md lists",
    )


def _unsupported_in_model(model: keras.Model) -> Iterator[str]:
    if not isinstance(model, CausalLM):
        yield f"a model of class {type(model).__name__}"
        return
    if type(model.decoder) is not CausalLMDecoder:
        yield f"decoder: {type(model.decoder).__name__}"
    elif model.decoder.compute_dtype != "float32":
        yield f"decoder: dtype={model.decoder.dtype_policy.name}"


def _unsupported_in_strategy(strategy: Strategy | None) -> Iterator[str]:
    if type(strategy) not in (GreedySearch, Sampling):
        yield f"strategy={type(strategy).__name__}"
        return
    assert strategy is not None
    for name in ("length_ratio", "force_end"):
        if getattr(strategy, name):
            yield f"strategy: {name}={getattr(strategy, name)}"
    if strategy.num_beams > 1:
        yield f"strategy: num_return_sequences={strategy.num_beams}"


def _unsupported_in_tokenizers(tokenizers: Sequence[Tokenizer]) -> Iterator[str]:
    # Reads the same one before and after the model.
    for tokenizer in {id(each): each for each in tokenizers}.values():
        if type(tokenizer) not in WRITERS:
            yield f"tokenizer: {type(tokenizer).__name__}"
        elif (
            isinstance(tokenizer, SentencePieceTokenizer)
            and tokenizer.lowercase
            and has_own_rules(tokenizer)
        ):
            yield "tokenizer: lowercase=True with a SentencePiece model that has rules of its own"
