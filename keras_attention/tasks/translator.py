"""Translation of text with an encoder-decoder."""

from pathlib import Path
from typing import Any

from keras_attention.generation import GreedySearch, Strategy
from keras_attention.models import EncoderDecoder
from keras_attention.tasks.generation_task import GenerationTask
from keras_attention.tasks.runner import ModelRunner
from keras_attention.tasks.task import check_vocabulary_size
from keras_attention.text import Tokenizer, load_tokenizer
from keras_attention.text.postprocessors import TextPostprocessor
from keras_attention.text.preprocessors import TextPreprocessor


class Translator(GenerationTask):
    """Translates text with an `EncoderDecoder`.

    Train `model` with `fit` on `keras_attention.text.bucketed_batches`; the task always uses its
    current weights.

    Args:
        model: the model; its vocabularies have the sizes of the tokenizers'.
        source_tokenizer: encodes the source.
        target_tokenizer: decodes the generated ids.
        strategy: `GreedySearch`, `BeamSearch` or `Sampling`; `None` is `GreedySearch()`.
        max_source_length: longer sources are truncated, with a warning that counts them.

    Raises:
        ValueError: If a tokenizer does not fit the model.

    Example:

    >>> from keras_attention.models import seq2seq
    >>> from keras_attention.text import CharacterTokenizer
    >>> tokenizer = CharacterTokenizer.train(["abc"])
    >>> model = seq2seq(tokenizer.vocabulary_size, tokenizer.vocabulary_size, 8, 8)
    >>> translator = Translator(model, tokenizer, tokenizer, GreedySearch(max_new_tokens=5))
    >>> len(translator(["ab", "", "cab"]))
    3
    """

    preprocessor: TextPreprocessor
    postprocessor: TextPostprocessor

    def __init__(
        self,
        model: EncoderDecoder,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        strategy: Strategy | None = None,
        max_source_length: int = 128,
    ):
        super().__init__(
            TextPreprocessor(source_tokenizer, max_source_length),
            ModelRunner(model, strategy or GreedySearch()),
            TextPostprocessor(target_tokenizer),
        )

    @property
    def source_tokenizer(self) -> Tokenizer:
        """Tokenizer of the source."""
        return self.preprocessor.tokenizer

    @property
    def max_source_length(self) -> int:
        """Maximum number of tokens of a source, `[END]` included."""
        return self.preprocessor.max_length

    @classmethod
    def from_marian(
        cls,
        folder_or_name: str | Path,
        strategy: Strategy | None = None,
        max_source_length: int | None = None,
        revision: str | None = None,
    ) -> "Translator":
        """Loads a Marian model, such as OPUS-MT's, that transformers saved; torch is not needed.

        The model returns the logits of transformers' `MarianMTModel` and, with the strategy that
        the folder describes, its translations. Ids are a permutation: see `interop.marian`.

        Args:
            folder_or_name: a folder with `config.json`, `generation_config.json`,
                `model.safetensors`, `source.spm`, `target.spm` and `vocab.json` (and
                `target_vocab.json` if vocabularies are separate), or the name of such a model on
                the Hugging Face hub, which is downloaded.
            strategy: replaces the one that `generation_config.json` describes.
            max_source_length: longer sources are truncated; `None` is the number of positions in
                `config.json`.
            revision: commit, tag or branch of the model on the hub; a commit pins its files.

        Raises:
            ValueError: If a file is missing, damaged, does not fit the others, or needs a feature
                that this library lacks.

        Example:

        ```python
        translator = Translator.from_marian("Helsinki-NLP/opus-mt-en-de")
        translator("A dog runs.")
        ```
        """
        from keras_attention.interop.marian import read_marian

        read = read_marian(folder_or_name, strategy, revision)
        length = max_source_length or read.max_source_length
        return cls(**{**read._asdict(), "max_source_length": length})

    def check_model(self, model: EncoderDecoder) -> None:
        for name, tokenizer, part in (
            ("source_tokenizer", self.source_tokenizer, model.encoder),
            ("target_tokenizer", self.target_tokenizer, model.decoder),
        ):
            check_vocabulary_size(name, tokenizer, part.vocabulary_size)

    def save_parts(self, folder: Path) -> dict[str, Any]:
        self.source_tokenizer.save(folder / "source")
        self.target_tokenizer.save(folder / "target")
        return {"max_source_length": self.max_source_length}

    @classmethod
    def load_parts(
        cls, folder: Path, config: dict[str, Any]
    ) -> tuple[TextPreprocessor, TextPostprocessor]:
        source, target = (load_tokenizer(folder / side) for side in ("source", "target"))
        return TextPreprocessor(source, config["max_source_length"]), TextPostprocessor(target)
