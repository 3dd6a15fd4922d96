"""Time of bulk generation by batch size, tokens in a batch and threads.

python benchmarks/bulk_generation.py models/en-de --input test.en --lines 2000
"""

from itertools import islice
from pathlib import Path

from keras_attention.generation import BeamSearch
from keras_attention.tasks import load_exported, load_task
from keras_attention.text import read_lines
from report import Report, make_parser
from turns import measure_here
from worker import peak_memory

# (batch_size, batch_tokens, workers); the first is what the others are compared with
VARIANTS = [
    (32, None, 1),
    (64, None, 1),
    (64, 1024, 1),
    (128, 2048, 1),
    (256, 4096, 1),
    (32, None, 2),
    (64, 1024, 2),
    (128, 2048, 2),
]


def main():
    parser = make_parser(__doc__, rounds=2)
    parser.add_argument("model", type=Path, help="a saved task or an export")
    parser.add_argument("--input", type=Path, required=True, help="texts, one per line")
    parser.add_argument("--lines", type=int, default=2000, help="number of texts [2000]")
    parser.add_argument("--num-beams", type=int, help="of beam search, for a saved task [as saved]")
    options = parser.parse_args()
    report = Report(options)
    is_task = (options.model / "model.keras").is_file()
    task = load_task(options.model) if is_task else load_exported(options.model)
    if options.num_beams:
        limit = task.strategy.max_new_tokens
        task.strategy = BeamSearch(options.num_beams, max_new_tokens=limit)
    texts = list(islice(read_lines(options.input), options.lines))
    outputs = {}

    def make_run(variant):
        batch_size, batch_tokens, workers = variant

        def run():
            results = task.predict_iterable(texts, batch_size, batch_tokens, workers=workers)
            outputs[variant] = [hypotheses[0].text for hypotheses in results]

        return run

    results = measure_here({variant: make_run(variant) for variant in VARIANTS}, options.rounds)
    rows = []
    for variant, result in results.items():
        pairs = zip(outputs[variant], outputs[VARIANTS[0]], strict=True)
        batch_size, batch_tokens, workers = variant
        rows.append({
            "batch_size": str(batch_size),
            "batch_tokens": str(batch_tokens or "-"),
            "workers": str(workers),
            "lines/s": 1000 * len(texts) / result.median,
            "speedup": results[VARIANTS[0]].ratio(result),
            "different": str(sum(ours != theirs for ours, theirs in pairs)),
        })  # fmt: skip
    report.table(f"bulk generation, peak memory {peak_memory():,.0f} MB", rows)
    report.save()


if __name__ == "__main__":
    main()
