"""Parsers of `keras-attention export` and `verify`."""

from pathlib import Path

from _keras_attention_cli.options import (
    TRAINED_MODEL,
    Commands,
    add_model,
    add_strategy_options,
    positive_int,
    sizes,
)

# Options that add signatures to a TFLite file.
SIGNATURES = {
    "steps": "signatures encode and decode, for apps with a decoding loop of their own",
    "options": "the signature with_options, with num_beams, max_new_tokens, temperature and seed "
    "as inputs",
    "text": "the signature text, from strings to strings",
}


def add_commands(commands: Commands) -> None:
    """Adds the commands `export` and `verify`."""
    _add_export(commands)
    _add_verify(commands)


def _add_export(commands: Commands) -> None:
    command = commands.add_parser(
        "export",
        help="write and verify a SavedModel, a TFLite file or another format",
        description="Exports a trained task. Each export is run on samples and compared with the "
        "model; verification.json next to it has the result.",
        epilog="Example: keras-attention export models/en-de --saved-model serving/en-de "
        "--tflite phone/en-de --samples test.en",
    )
    add_model(command, TRAINED_MODEL)
    command.add_argument(
        "--saved-model",
        type=Path,
        metavar="FOLDER",
        help="folder for the next version of TensorFlow Serving",
    )
    command.add_argument(
        "--tflite", type=Path, metavar="FOLDER", help="folder for model.tflite and its tokenizers"
    )
    command.add_argument(
        "--tflite-steps",
        type=Path,
        metavar="FOLDER",
        help="folder for steps.tflite, with encode and decode of static shapes and without a loop, "
        "for integer accelerators and apps; greedy search",
    )
    command.add_argument(
        "--ctranslate2",
        type=Path,
        metavar="FOLDER",
        help="folder for a CTranslate2 model of a Transformer and its tokenizers",
    )
    command.add_argument(
        "--onnx", type=Path, metavar="FOLDER", help="folder for model.onnx and its tokenizers"
    )
    command.add_argument(
        "--transformers-js",
        type=Path,
        metavar="FOLDER",
        help="folder for ONNX files, configuration and tokenizer of a Transformer translator or a "
        "text generator, for transformers.js; greedy search",
    )
    command.add_argument(
        "--litert-lm",
        type=Path,
        metavar="FOLDER",
        help="folder for model.litertlm of a text generator, for LiteRT-LM",
    )
    command.add_argument(
        "--samples",
        metavar="FILE",
        help="inputs of the verification, one per line (.gz allowed); the first eight are stored "
        "in the export, see --no-record-samples [made from the vocabulary]",
    )
    command.add_argument(
        "--no-record-samples",
        dest="record_samples",
        action="store_false",
        help="store no line of --samples in the export, but made samples, for exports that are "
        "passed on",
    )
    command.add_argument(
        "--num-samples",
        type=positive_int,
        default=20,
        metavar="N",
        help="maximum number of lines read from --samples [%(default)s]",
    )
    command.add_argument(
        "--no-tokenizer",
        action="store_true",
        help="write a SavedModel from ids to ids, for servers without TensorFlow Text",
    )
    command.add_argument(
        "--weights",
        default="float32",
        help="weights of the TFLite or LiteRT-LM file, CTranslate2 model or files for "
        "transformers.js: float32, float16, int8 (recommended for phones and CPUs), and of a "
        "TFLite file int4, or without a loop full_int8 or full_int16, of a LiteRT-LM file int4 "
        "[%(default)s]",
    )
    command.add_argument(
        "--references",
        metavar="FILE",
        help="reference for each sample, to evaluate weights of reduced precision "
        "[outputs of the model]",
    )
    command.add_argument(
        "--allow-loss",
        action="store_true",
        help="keep a file of reduced precision that loses more than 1 point of 100",
    )
    command.add_argument(
        "--static",
        type=sizes,
        metavar="BATCH,LENGTH",
        help="static shapes of the TFLite files, for LiteRT's CompiledModel: batch size and source "
        "length, or the batch size for images; longer sources are truncated [free shapes]",
    )
    command.add_argument(
        "--no-details",
        action="store_true",
        help="leave out of the TFLite file the signature details, which returns attention weights",
    )
    command.add_argument(
        "--prefill-lengths",
        type=sizes,
        metavar="N[,N...]",
        help="numbers of tokens of a prompt that the LiteRT-LM file reads at once [the longest "
        "prompt, and less for short ones]",
    )
    command.add_argument(
        "--cache-length",
        type=positive_int,
        metavar="N",
        help="maximum number of tokens of a text in the LiteRT-LM file [as the longest prompt and "
        "continuation need]",
    )
    for name, added in SIGNATURES.items():
        command.add_argument(f"--{name}", action="store_true", help=f"add {added}")
    add_strategy_options(command)


def _add_verify(commands: Commands) -> None:
    command = commands.add_parser(
        "verify",
        help="run the verification of an export again",
        description="Checks the SHA-256 of every file of an export or of a trained task. An export "
        "is then run, for example on another machine, on the samples stored with it, and its "
        "outputs are compared with the stored ones. The trained model is not needed.",
        epilog="Example: keras-attention verify serving/en-de",
    )
    command.add_argument(
        "folder",
        type=Path,
        help="folder that 'export' wrote, one of its versions, or the folder of a trained task",
    )
