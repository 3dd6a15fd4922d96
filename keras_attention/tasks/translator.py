"""Tokenizer, model, generation and detokenizer as one thing that is called with text."""

from pathlib import Path

from keras_attention.export import GeneratedText, TokensToTokens
from keras_attention.generation import GreedySearch, Strategy
from keras_attention.models import EncoderDecoder
from keras_attention.tasks.generating import Alignment, Generating, cut
from keras_attention.tasks.task import check_vocabulary
from keras_attention.text import Tokenizer

__all__ = ["Alignment", "GeneratedText", "Translator", "cut"]


class Translator(Generating, TokensToTokens):
    """Translates text with an `EncoderDecoder`.

    Train `model` with `fit` on `keras_attention.text.bucketed_batches`; the task sees its
    weights at every call.

    Args:
        model: the model; its vocabularies are as large as the tokenizers'.
        source_tokenizer: for what comes in.
        target_tokenizer: for what goes out.
        strategy: `GreedySearch`, `BeamSearch` or `Sampling`; None is `GreedySearch()`.
        max_source_length: longer sources are cut, with a warning that counts them.

    Raises:
        ValueError: if a tokenizer's vocabulary is not the model's.

    Example:

    >>> from keras_attention.models import seq2seq
    >>> from keras_attention.text import CharacterTokenizer
    >>> letters = CharacterTokenizer.train(["abc"])
    >>> model = seq2seq(letters.vocabulary_size, letters.vocabulary_size, 8, 8)
    >>> translator = Translator(model, letters, letters, GreedySearch(max_new_tokens=5))
    >>> len(translator(["ab", "", "cab"]))
    3
    """

    def __init__(
        self,
        model: EncoderDecoder,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        strategy: Strategy | None = None,
        max_source_length: int = 128,
    ):
        check_vocabulary("source_tokenizer", source_tokenizer, model.encoder.vocabulary_size)
        check_vocabulary("target_tokenizer", target_tokenizer, model.decoder.vocabulary_size)
        super().__init__(source_tokenizer, target_tokenizer, max_source_length)
        self.model = model
        self.strategy = strategy or GreedySearch()

    @classmethod
    def from_marian(
        cls,
        folder_or_name: str | Path,
        strategy: Strategy | None = None,
        max_source_length: int | None = None,
    ) -> "Translator":
        """Reads a Marian model, such as OPUS-MT's, that transformers wrote; without torch.

        The model gives the logits of transformers' `MarianMTModel`, and, with the strategy that the
        folder describes, its answers. Ids are another order of the same: see `interop.marian`.

        Args:
            folder_or_name: a folder with `config.json`, `generation_config.json`,
                `model.safetensors`, `source.spm`, `target.spm` and `vocab.json` (and
                `target_vocab.json` where vocabularies are separate), or the name of such a model on
                the Hugging Face hub, which is downloaded.
            strategy: in place of the one that `generation_config.json` describes.
            max_source_length: longer sources are cut; None is as many as `config.json` has
                positions.

        Raises:
            ValueError: if a file is missing or does not fit the others, or asks for something that
                this library has not.

        Example:

        ```python
        translator = Translator.from_marian("Helsinki-NLP/opus-mt-en-de")
        translator("A dog runs.")
        ```
        """
        from keras_attention.interop.marian import read_marian

        read = read_marian(folder_or_name, strategy)
        length = max_source_length or read.max_source_length
        return cls(**{**read._asdict(), "max_source_length": length})
