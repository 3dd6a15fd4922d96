"""Time of bulk generation by batch size, tokens in a batch and threads.

python benchmarks/bulk_generation.py models/en-de --input test.en --lines 2000
"""

import argparse
import resource
from itertools import islice
from pathlib import Path

from timing import median_milliseconds

from keras_attention.generation import BeamSearch
from keras_attention.tasks import load_exported, load_task
from keras_attention.text import read_lines

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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a saved task or an export")
    parser.add_argument("--input", type=Path, required=True, help="texts, one per line")
    parser.add_argument("--lines", type=int, default=2000, help="number of texts [2000]")
    parser.add_argument("--num-beams", type=int, help="of beam search, for a saved task [as saved]")
    parser.add_argument("--rounds", type=int, default=2, help="[2]")
    options = parser.parse_args()
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

    times = median_milliseconds(
        {variant: make_run(variant) for variant in VARIANTS}, options.rounds, warm_up=1
    )
    print("batch_size  batch_tokens  workers  lines/s  ratio  different")
    for variant in VARIANTS:
        seconds, ratio = times[variant] / 1000, times[VARIANTS[0]] / times[variant]
        pairs = zip(outputs[variant], outputs[VARIANTS[0]], strict=True)
        different = sum(ours != theirs for ours, theirs in pairs)
        batch_size, batch_tokens, workers = variant
        print(
            f"{batch_size:10}  {batch_tokens or '-':>12}  {workers:7}  "
            f"{len(texts) / seconds:7.1f}  {ratio:5.2f}  {different:9}"
        )
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
