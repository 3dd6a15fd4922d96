"""Greedy search in Chromium with LiteRT.js: by the loop in the file, and token by token.

    pip install -e ".[browser]" -c constraints.txt && npm install --prefix examples/web
    python benchmarks/chromium.py
    python benchmarks/chromium.py --weights float32

The model has random weights and the size of an OPUS-MT model; the batch size is 1. Chromium uses
as many threads as the page of examples/web gives it. The same file runs in Python.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
from playwright.sync_api import sync_playwright

from decoding import OPUS_MT
from keras_attention.generation import GreedySearch
from keras_attention.tasks import load_exported
from report import Report, make_parser
from steps.export import random_translator

PAGE = Path(__file__).parents[1] / "examples" / "web"
# Runs both ways in turns; returns, for each, the milliseconds of each round and the ids. The first
# round is not timed.
MEASURE = """async ([text, rounds]) => {
    const translator = await (await import("/page.js")).loading;
    const { generateIds } = await import("/steps.js");
    const source = new Int32Array(translator.shape[1]);
    source.set(translator.source.encode(text, source.length));
    const ways = {
        "loop in the file": async () => (await translator.generate(text)).ids,
        "token by token": async () => {
            const ids = [];
            for await (const id of generateIds(translator.model, source)) ids.push(id);
            return ids;
        },
    };
    const results = {};
    for (let round = 0; round <= rounds; round++) {
        for (const [name, generate] of Object.entries(ways)) {
            const start = performance.now();
            const ids = await generate();
            results[name] ??= { milliseconds: [], ids };
            if (round) results[name].milliseconds.push(performance.now() - start);
        }
    }
    return results;
}"""


def export(folder: Path, options: SimpleNamespace) -> str:
    """Writes the file; returns a text of `source_length` tokens with [END]."""
    task, characters = random_translator(options, GreedySearch(max_new_tokens=options.tokens))
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(characters, options.source_length - 1))
    shape = (1, options.source_length)
    task.export(folder, "tflite", [text], weights=options.weights, static=shape, steps=True,
                allow_loss=True)  # fmt: skip
    return text


def in_python(folder: Path, text: str, rounds: int) -> list[float]:
    """Returns the milliseconds of each round in Python's `Interpreter`."""
    task = load_exported(folder)
    milliseconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        task.generate([text])
        milliseconds.append(1000 * (time.perf_counter() - start))
    return milliseconds[1:]


def in_chromium(folder: Path, text: str, rounds: int) -> dict[str, dict[str, list]]:
    """Returns what `MEASURE` does."""
    command = [sys.executable, str(PAGE / "serve.py"), str(folder), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        with sync_playwright() as playwright:
            executable = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=executable)
            page = browser.new_page()
            page.goto(server.stdout.readline().strip())
            page.wait_for_function("!document.getElementById('run').disabled", timeout=300_000)
            print(page.inner_text("#status"))
            return page.evaluate(MEASURE, [text, rounds])
    finally:
        server.terminate()
        server.wait()


def main():
    parser = make_parser(__doc__, rounds=5, **OPUS_MT)
    parser.add_argument("--weights", default="int8", help="of the TFLite file [int8]")
    options = parser.parse_args()
    report = Report(options)
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "export")
        text = export(folder, SimpleNamespace(**vars(options), dtype_policy="float32"))
        times = {"Python, loop in the file": in_python(folder, text, options.rounds)}
        results = in_chromium(folder, text, options.rounds)
    times |= {f"Chromium, {name}": each["milliseconds"] for name, each in results.items()}
    rows = [
        {"variant": name, "ms": statistics.median(each),
         "ms per token": statistics.median(each) / options.tokens}
        for name, each in times.items()
    ]  # fmt: skip
    report.table(f"{options.weights}, {options.tokens} tokens", rows)
    ids = {name: each["ids"] for name, each in results.items()}
    if len({tuple(each) for each in ids.values()}) > 1:
        raise RuntimeError(f"All ways must return the same ids. Received: {ids}")
    report.save()


if __name__ == "__main__":
    main()
