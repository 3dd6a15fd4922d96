"""Parser of `keras-attention train`.

Options that are not given are `None`: their defaults are those of `TrainingConfig` and of the
model builders, which this module may not import. The help texts repeat them in brackets, and
tests/cli/test_train.py checks that they agree.
"""

import argparse
from pathlib import Path
from typing import Any

from _keras_attention_cli.options import (
    Commands,
    Group,
    fraction,
    positive_float,
    positive_int,
)

# Options of one architecture only, with their defaults.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "rnn": {
        "attention": "bahdanau",
        "cell": "gru",
        "units": 256,
        "embedding_dim": 256,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "input_feeding": False,
        "tie_embeddings": False,
    },
    "transformer": {"size": "tiny", "norm": "pre", "packed": False},
}


def add_commands(commands: Commands) -> None:
    """Adds the command `train`."""
    command = commands.add_parser(
        "train",
        help="train a translator on parallel files",
        description="Trains a translator on two files aligned by line, or on one file with "
        "tab-separated columns.",
        epilog="After Ctrl-C, --output holds the best model so far, and the same command resumes "
        "training after the last complete epoch. Example: keras-attention train --source train.en "
        "--target train.de --valid-source val.en --valid-target val.de --output models/en-de",
    )
    _add_data(command.add_argument_group("data"))
    _add_model(command.add_argument_group("model"))
    _add_rnn(command.add_argument_group("--model rnn"))
    _add_transformer(command.add_argument_group("--model transformer"))
    _add_training(command.add_argument_group("training"))


def _add_data(group: Group) -> None:
    for name, required, text in (
        ("--source", True, "source sentences, one per line (.gz allowed)"),
        ("--target", False, "target sentences [second, tab-separated column of --source]"),
        ("--valid-source", True, "validation sources; a few hundred are enough"),
        ("--valid-target", False, "validation targets [second column of --valid-source]"),
    ):
        group.add_argument(name, required=required, metavar="FILE", help=text)
    group.add_argument(
        "--output", required=True, type=Path, metavar="FOLDER", help="new folder for the task"
    )
    group.add_argument(
        "--tokenizer",
        choices=["bpe", "unigram", "wordpiece", "characters"],
        default="bpe",
        help="bpe and unigram are trained by SentencePiece [%(default)s]",
    )
    group.add_argument(
        "--vocabulary-size",
        type=positive_int,
        default=8000,
        metavar="N",
        help="number of tokens of each side; unused for characters [%(default)s]",
    )
    group.add_argument(
        "--joint-vocabulary",
        action="store_true",
        help="train one tokenizer on both sides; a transformer then shares its embeddings",
    )
    group.add_argument("--lowercase", action="store_true", help="lower-case both sides")
    group.add_argument(
        "--normalization",
        choices=["NFC", "NFKC"],
        default="NFC",
        help="Unicode normalization [%(default)s]",
    )
    _add(group, "max_length", positive_int, "maximum number of tokens in a sentence [100]")


def _add_model(group: Group) -> None:
    group.add_argument(
        "--start-from",
        type=Path,
        metavar="FOLDER",
        help="continue from a trained task, with its tokenizers, sizes and weights",
    )
    group.add_argument(
        "--model", choices=sorted(ARCHITECTURES), default="rnn", help="architecture [%(default)s]"
    )
    _add(group, "dropout", fraction, "dropout rate [rnn: 0.3; transformer: that of its size]")


def _add_rnn(group: Group) -> None:
    default = ARCHITECTURES["rnn"]
    group.add_argument(
        "--attention",
        choices=["bahdanau", "luong", "fixed", "none"],
        help="fixed: the same context at each step; none: only the encoder's last state "
        f"[{default['attention']}]",
    )
    group.add_argument(
        "--cell", choices=["gru", "lstm"], help=f"cell of encoder and decoder [{default['cell']}]"
    )
    for name, text in (
        ("units", "number of units of the cells"),
        ("embedding_dim", "size of the embeddings"),
        ("encoder_layers", "number of bidirectional encoder layers"),
        ("decoder_layers", "number of decoder layers"),
    ):
        _add(group, name, positive_int, f"{text} [{default[name]}]")
    _add_flag(group, "input_feeding", "feed the attention output into the next step")
    _add_flag(group, "tie_embeddings", "share the weights of target embedding and output layer")


def _add_transformer(group: Group) -> None:
    default = ARCHITECTURES["transformer"]
    group.add_argument(
        "--size",
        choices=["tiny", "small", "base", "big"],
        help="tiny and small: Wu et al. 2021; base and big: Vaswani et al. 2017 "
        f"[{default['size']}]",
    )
    group.add_argument(
        "--norm",
        choices=["pre", "post"],
        help="layer normalization before each sub-layer, or after it as in Vaswani et al. 2017 "
        f"[{default['norm']}]",
    )
    _add_flag(
        group,
        "packed",
        "train on rows that hold several sentence pairs, masked from each other; requires a "
        "maximum number of tokens in a batch",
    )


def _add_training(group: Group) -> None:
    _add(group, "epochs", positive_int, "number of passes over the data [20]")
    _add(
        group,
        "batch_size",
        positive_int,
        "maximum number of sentences in a batch [64; no limit with --batch-tokens]",
    )
    _add(
        group,
        "batch_tokens",
        positive_int,
        "maximum number of tokens in one side of a batch, including padding",
    )
    _add(group, "learning_rate", positive_float, "peak learning rate of Adam [0.001]")
    _add(group, "warmup_steps", positive_int, "steps until the peak learning rate [200]")
    group.add_argument(
        "--decay",
        choices=["linear", "inverse_sqrt"],
        help="decay of the learning rate after the warm-up; inverse_sqrt also sets beta_2 and "
        "epsilon of Adam as in Vaswani et al. 2017 [linear]",
    )
    _add(group, "label_smoothing", fraction, "label smoothing of the cross-entropy [0.1]")
    _add(group, "patience", positive_int, "stop after N epochs without a better BLEU")
    _add(
        group,
        "average_checkpoints",
        positive_int,
        "average the weights of the last N epochs, and keep the average if its BLEU is best [1]",
    )
    _add(
        group,
        "ema_momentum",
        fraction,
        "score and save a moving average of the weights with this momentum, such as 0.999",
    )
    _add(
        group,
        "r_drop_alpha",
        positive_float,
        "weight of the divergence of two passes through dropout, such as 5 (Liang et al. 2021); "
        "doubles the time of a step",
    )
    _add(
        group,
        "risk_weight",
        positive_float,
        "weight of the expected BLEU loss of beam search candidates, such as 0.12 (Shen et al. "
        "2016); requires --start-from. An epoch is about 3,072 pairs",
    )
    group.add_argument(
        "--bleu-tokenize",
        metavar="NAME",
        help="tokenizer of sacrebleu; 'none' for tokenized text [13a]",
    )
    _add_flag(group, "jit_compile", "compile with XLA; on a CPU, faster with --input-feeding")
    _add_flag(
        group,
        "bfloat16",
        "compute matrix products in bfloat16, with weights in float32; faster on processors with "
        "bfloat16 products, on a CPU without --jit-compile",
    )
    group.add_argument(
        "--seed", type=int, metavar="N", help="seed of the data order and of the weights [0]"
    )


def _add(group: Group, name: str, type: Any, help: str) -> None:
    group.add_argument(option_name(name), type=type, metavar="N", help=help)


def _add_flag(group: Group, name: str, help: str) -> None:
    group.add_argument(option_name(name), action="store_true", default=None, help=help)


def option_name(name: str) -> str:
    """Returns the option of a parameter, such as `--num-beams` for `num_beams`."""
    return f"--{name.replace('_', '-')}"


def architecture_options(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the options of the chosen architecture, with its defaults.

    Raises:
        ValueError: If an option of another architecture was given.
    """
    for model, names in ARCHITECTURES.items():
        for name in names:
            if model != options.model and getattr(options, name) is not None:
                raise ValueError(
                    f"`{option_name(name)}` requires `--model {model}`. "
                    f"Received: --model {options.model}"
                )
    defaults = ARCHITECTURES[options.model]
    chosen = {name: getattr(options, name) for name in defaults}
    return {name: defaults[name] if chosen[name] is None else chosen[name] for name in defaults}
