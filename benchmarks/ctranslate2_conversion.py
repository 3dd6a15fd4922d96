"""Times two CTranslate2 models of one Marian folder: this library's and CTranslate2's own.

    python benchmarks/ctranslate2_conversion.py FOLDER --input FILE

CTranslate2's own conversion needs PyTorch and transformers. Both generate the same number of
tokens, in turns in one process; tokens per second are those of the median time.
"""

import tempfile
from pathlib import Path

import ctranslate2
import sentencepiece
from ctranslate2.converters import TransformersConverter

from keras_attention.export.ctranslate2.writer import write_model
from keras_attention.tasks import Translator
from keras_attention.tasks.export import generation_of
from keras_attention.text import read_lines
from report import Report, make_parser, rows_of
from turns import measure_here


def main():
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path, help="a Marian model saved by transformers")
    parser.add_argument("--input", required=True, help="sentences, one per line")
    parser.add_argument("--sentences", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32, help="tokens generated [32]")
    parser.add_argument("--weights", nargs="+", default=["float32", "int8"])
    parser.add_argument("--num-beams", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--threads", type=int, default=0, help="of one batch [CTranslate2's]")
    options = parser.parse_args()
    report = Report(options)
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
                results = compare(ours, theirs, pieces, num_beams, options)
                rows = rows_of(results, options.tokens * len(pieces))
                report.table(f"{weights}, {num_beams} beams", rows)
    report.save()


def compare(ours, theirs, pieces, num_beams, options):
    """Measures both models, with their own special tokens."""

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
    return measure_here(runs, options.rounds, warm_up=3)


if __name__ == "__main__":
    main()
