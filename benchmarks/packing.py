"""Training on short sentence pairs, by batches of equal lengths and packed in rows.

    python benchmarks/packing.py train.de train.en

An encoder-decoder Transformer is trained on the same pairs, once for each form of batches, which
have about as many positions. One run is a pass over all pairs.
"""

from itertools import islice
from pathlib import Path

import keras
import numpy as np

from keras_attention.models import transformer
from keras_attention.text import (
    SentencePieceTokenizer,
    bucketed_batches,
    packed_pair_batches,
    read_parallel,
)
from keras_attention.training import MaskedCrossEntropy, ShuffledBatches
from report import Report, make_parser, rows_of
from turns import measure_here

SIZES = {"pairs": 2000, "positions": 1280, "length": 128, "hidden_dim": 256, "layers": 3}
VOCABULARY = 8000


def main() -> None:
    parser = make_parser(__doc__, rounds=5, **SIZES)
    parser.add_argument("source", type=Path, help="file with one sentence per line")
    parser.add_argument("target", type=Path, help="file with their translations")
    options = parser.parse_args()
    report = Report(options)
    pairs = read_parallel(options.source, options.target)
    source, target = (
        SentencePieceTokenizer.train(texts, VOCABULARY) for texts in zip(*pairs, strict=True)
    )
    pairs = [*islice(pairs, options.pairs)]
    positions, length = options.positions, options.length
    data = {
        "bucketed": bucketed_batches(
            pairs, source, target, positions, length, batch_tokens=positions
        ),
        "packed": packed_pair_batches(pairs, source, target, length, positions // length),
    }
    runs = {
        name: training_pass(batches, name == "packed", options) for name, batches in data.items()
    }
    results = measure_here(runs, options.rounds)
    tokens = sum(int((labels != 0).sum()) for _, labels in data["packed"])
    report.table("training on all pairs", rows_of(results, tokens))
    for name, batches in data.items():
        print(f"{name}: {100 * padding(batches):.1f} % padding in {len(batches)} batches")
    report.save()


def training_pass(batches: ShuffledBatches, packed: bool, options):
    """Returns a function that trains a model on all batches once."""
    keras.utils.set_random_seed(0)
    model = transformer(
        VOCABULARY,
        VOCABULARY,
        "tiny",
        hidden_dim=options.hidden_dim,
        intermediate_dim=4 * options.hidden_dim,
        num_heads=4,
        num_layers=options.layers,
        packed=packed,
    )
    model.compile(keras.optimizers.Adam(1e-4), MaskedCrossEntropy(), jit_compile=False)
    return lambda: model.fit(batches, shuffle=False, verbose=0)


def padding(batches: ShuffledBatches) -> float:
    """Returns the share of positions that are padding, of both sides."""
    arrays = [side for inputs, labels in batches for side in (inputs["source"], labels)]
    return 1 - sum(np.count_nonzero(each) for each in arrays) / sum(each.size for each in arrays)


if __name__ == "__main__":
    main()
