"""`keras-attention train`: training of a translator on parallel files."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _keras_attention_cli.train import architecture_options
from keras_attention.utils.atomic_io import check_replaceable, remove_abandoned

if TYPE_CHECKING:
    from keras_attention.models import EncoderDecoder
    from keras_attention.recipes import TrainingConfig
    from keras_attention.tasks import Translator
    from keras_attention.text import Tokenizer

Pair = tuple[str, str]


def run(options: argparse.Namespace) -> None:
    """Trains a translator and saves it in `--output`."""
    import keras

    from keras_attention.metrics import bleu
    from keras_attention.recipes import fit

    config = training_config(options)
    _check_output(options)
    if config.risk_weight is not None and not options.start_from:
        raise ValueError(
            "`--risk-weight` requires `--start-from`, a trained task. "
            f"Received: --risk-weight {config.risk_weight}"
        )
    bleu(["one"], ["one"], config.bleu_tokenize)  # an unknown name fails before training
    keras.utils.set_random_seed(config.seed)
    pairs = _read_pairs(options.source, options.target)
    validation = _read_pairs(options.valid_source, options.valid_target)
    task = _make_task(options, config, pairs)
    source, target = task.source_tokenizer.vocabulary_size, task.target_tokenizer.vocabulary_size
    print(
        f"{len(pairs)} pairs; {source} and {target} tokens; "
        f"{task.model.count_params():,} parameters"
    )
    try:
        fit(task, pairs, validation, options.output, config)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_interrupt_message(options.output)) from None
    print(f"The best model is in {options.output}. Try: keras-attention generate {options.output}")


def _interrupt_message(output: Path) -> str:
    """Returns what an interrupted training has left, and what the same command does."""
    from keras_attention.recipes import completed_epochs

    if (output / "training.json").is_file():
        left = f"{output} holds the best model so far. "
    else:
        left = f"{output} holds the current model. " if output.is_dir() else ""
    epochs = completed_epochs(output)
    rerun = f"resumes after epoch {epochs}" if epochs else "starts anew"
    return f". {left}The same command {rerun}."


def training_config(options: argparse.Namespace) -> "TrainingConfig":
    """Returns the training options of the command line; the others have their defaults."""
    from keras_attention.recipes import TrainingConfig

    names = [field.name for field in dataclasses.fields(TrainingConfig)]
    chosen = {name: getattr(options, name, None) for name in names}
    return TrainingConfig(**{name: value for name, value in chosen.items() if value is not None})


def _check_output(options: argparse.Namespace) -> None:
    """Checks that no finished task would be overwritten."""
    from keras_attention.recipes import resume_folder

    remove_abandoned(options.output)
    if (options.output / "task.json").is_file() and not resume_folder(options.output).is_dir():
        raise ValueError(
            "`--output` must be a new folder, or one whose training was interrupted. "
            f"Received: {str(options.output)!r}, which holds a trained task"
        )
    check_replaceable(options.output, "task.json")


def _make_task(
    options: argparse.Namespace, config: "TrainingConfig", pairs: list[Pair]
) -> "Translator":
    """Returns the task to train: a new one, or that of `--start-from`."""
    from keras_attention.generation import GreedySearch
    from keras_attention.tasks import Translator

    strategy = GreedySearch(config.max_length)
    if options.start_from:
        return Translator.load(options.start_from, strategy)
    build = {"rnn": _build_rnn, "transformer": _build_transformer}[options.model]
    architecture = architecture_options(options)
    tokenizers = _train_tokenizers(options, pairs)
    sizes = [tokenizer.vocabulary_size for tokenizer in tokenizers]
    model = build(options, architecture, *sizes)
    source, target = tokenizers
    return Translator(model, source, target, strategy, config.max_length)


def _build_rnn(
    options: argparse.Namespace, architecture: dict[str, Any], source_size: int, target_size: int
) -> "EncoderDecoder":
    from keras_attention.models import seq2seq

    attention = architecture.pop("attention")
    return seq2seq(
        source_size,
        target_size,
        attention=None if attention == "none" else attention,
        dropout=0.3 if options.dropout is None else options.dropout,
        **architecture,
    )


def _build_transformer(
    options: argparse.Namespace, architecture: dict[str, Any], source_size: int, target_size: int
) -> "EncoderDecoder":
    from keras_attention.models import transformer

    return transformer(
        source_size,
        target_size,
        architecture["size"],
        dropout=options.dropout,
        norm=architecture["norm"],
        packed=architecture["packed"],
        share_embeddings=options.joint_vocabulary,
    )


def _read_pairs(source: str, target: str | None) -> list[Pair]:
    from keras_attention.text import read_parallel

    pairs = read_parallel(source, target)
    if not pairs:
        raise ValueError(f"The file must have at least one line. Received: {source!r}, empty")
    return pairs


def _train_tokenizers(options: argparse.Namespace, pairs: list[Pair]) -> "list[Tokenizer]":
    """Trains a tokenizer for each side, or one for both with `--joint-vocabulary`."""
    sources, targets = map(list, zip(*pairs, strict=True))
    if options.joint_vocabulary:
        return [_train_tokenizer(options, sources + targets)] * 2
    return [_train_tokenizer(options, side) for side in (sources, targets)]


def _train_tokenizer(options: argparse.Namespace, lines: list[str]) -> "Tokenizer":
    from keras_attention.text import CharacterTokenizer, SentencePieceTokenizer, WordPieceTokenizer

    shared = {"lowercase": options.lowercase, "normalization": options.normalization}
    if options.tokenizer == "characters":
        return CharacterTokenizer.train(lines, **shared)
    if options.tokenizer == "wordpiece":
        return WordPieceTokenizer.train(lines, options.vocabulary_size, **shared)
    return SentencePieceTokenizer.train(
        lines, options.vocabulary_size, model_type=options.tokenizer, **shared
    )
