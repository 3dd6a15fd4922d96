"""Times two CTranslate2 models of one Marian folder: this library's and CTranslate2's own.

    python benchmarks/ctranslate2_conversion.py FOLDER --input FILE

CTranslate2's own conversion needs PyTorch and transformers. Both generate the same number of
tokens, in turns in one process; tokens per second are those of the median time.
"""

import argparse
import tempfile
from pathlib import Path

import ctranslate2
import sentencepiece
from ctranslate2.converters import TransformersConverter
from timing import median_milliseconds

from keras_attention.export.ctranslate2.writer import write_model
from keras_attention.tasks import Translator
from keras_attention.tasks.export import generation_of
from keras_attention.text import read_lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a Marian model saved by transformers")
    parser.add_argument("--input", required=True, help="sentences, one per line")
    parser.add_argument("--sentences", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32, help="tokens generated [32]")
    parser.add_argument("--weights", nargs="+", default=["float32", "int8"])
    parser.add_argument("--num-beams", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--threads", type=int, default=0, help="of one batch [CTranslate2's]")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    spm = sentencepiece.SentencePieceProcessor(model_file=str(options.folder / "source.spm"))
    lines = list(read_lines(options.input))[: options.sentences]
    pieces = [spm.encode(line, out_type=str) for line in lines]
    translator = Translator.from_marian(options.folder)
    for weights in options.weights:
        with tempfile.TemporaryDirectory() as scratch:
            ours, theirs = Path(scratch) / "ours", Path(scratch) / "theirs"
            ours.mkdir()
            write_model(generation_of(translator), ours, weights)
            TransformersConverter(str(options.folder)).convert(str(theirs), quantization=weights)
            for num_beams in options.num_beams:
                compare(ours, theirs, pieces, num_beams, weights, options)


def compare(ours, theirs, pieces, num_beams, weights, options):
    """Prints tokens per second of both models, with their own special tokens."""

    def runner(folder, end, suppressed):
        engine = ctranslate2.Translator(str(folder), intra_threads=options.threads)
        search = {
            "beam_size": num_beams,
            "min_decoding_length": options.tokens,
            "max_decoding_length": options.tokens,
            "suppress_sequences": [[token] for token in suppressed],
        }
        return lambda: engine.translate_batch([[*row, end] for row in pieces], **search)

    runs = {
        "keras_attention": runner(ours, "[END]", ["[PAD]", "[START]"]),
        "CTranslate2": runner(theirs, "</s>", []),
    }
    times = median_milliseconds(runs, options.rounds)
    tokens = 1000 * options.tokens * len(pieces)
    speeds = ", ".join(f"{name} {tokens / time:,.0f}" for name, time in times.items())
    ratio = times["CTranslate2"] / times["keras_attention"]
    print(f"{weights}, {num_beams} beams: {speeds} tokens per second, {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
