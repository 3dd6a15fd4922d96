"""Readers of files, with original files for each and a function that reads them."""

import contextlib
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

LINES = ["the dog is big .", "ein hund läuft über die straße", "Ärzte , zwei"] * 20


class Reader(NamedTuple):
    """A reader.

    Attributes:
        write: Writes original files to a folder.
        read: Reads a folder in which one file is damaged. A file given as an argument of the
            reader is the one that is damaged, `folder / name`.
        share: Share of the damaged files, relative to other readers.
    """

    write: Callable[[Path], None]
    read: Callable[[Path, str], Any]
    share: float = 1


def seal(folder: Path) -> None:
    """Writes the digests of tasks, exports and checkpoints anew, as after a change on purpose."""
    import json

    from keras_attention.utils.manifest import DIGESTS, OWN_DIGEST, write_manifest

    for name in ("task.json", "verification.json", "manifest.json"):
        for path in folder.rglob(name):
            with contextlib.suppress(ValueError, RecursionError):
                content = json.loads(path.read_bytes())
                if isinstance(content, dict):
                    rest = {
                        key: content[key] for key in content if key not in (DIGESTS, OWN_DIGEST)
                    }
                    write_manifest(path, rest)


def write_images(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (9, 13, 3)).astype("uint8")
    image, other = Image.fromarray(pixels), Image.fromarray(255 - pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "a.jpg", exif=exif)
    image.save(folder / "progressive.jpg", progressive=True)
    image.save(folder / "a.png", exif=exif)
    image.save(folder / "a.bmp")
    image.save(folder / "a.gif", save_all=True, append_images=[other])
    image.save(folder / "a.webp", exif=exif)
    image.save(folder / "lossless.webp", lossless=True)


def read_image(folder: Path, name: str) -> None:
    from keras_attention.images import read_image

    read_image(folder / name, (8, 8))


def write_text(folder: Path) -> None:
    import gzip

    text = "".join(f"{line}\t{line}\n" for line in LINES).encode()
    (folder / "a.txt").write_bytes(text)
    (folder / "a.gz").write_bytes(gzip.compress(text))


def read_text(folder: Path, name: str) -> None:
    from keras_attention.text import read_parallel

    read_parallel(folder / name)


def write_json(folder: Path) -> None:
    from keras_attention.utils.atomic_io import write_json

    write_json(folder / "a.json", {"a": [1, {"b": None}], "c": "ä", "d": {"e": 2.5}})


def read_json(folder: Path, name: str) -> None:
    from keras_attention.utils.atomic_io import read_json

    read_json(folder / name)


def _tokenizer(kind: str) -> Reader:
    def write(folder):
        from keras_attention import text

        if kind == "wordpiece":
            tokenizer = text.WordPieceTokenizer.train(LINES, 80)
        elif kind == "characters":
            tokenizer = text.CharacterTokenizer.train(LINES)
        else:
            tokenizer = text.SentencePieceTokenizer.train(LINES, 60, model_type=kind)
        if kind == "marian":
            tokenizer = text.MarianTokenizer(tokenizer._write(), tokenizer.vocabulary)
        tokenizer.save(folder)

    return Reader(write, read_tokenizer)


def read_tokenizer(folder: Path, name: str) -> None:
    from keras_attention.text import load_tokenizer

    tokenizer = load_tokenizer(folder)
    tokenizer.detokenize(tokenizer.encode(["ein hund .", "\x01 ﬁ", ""]))


def write_marian_tokenizer(folder: Path) -> None:
    from keras_attention import text

    pieces = text.SentencePieceTokenizer.train(LINES, 60)
    text.MarianTokenizer(pieces._write(), pieces.vocabulary).save(folder)


def write_torch(folder: Path) -> None:
    import torch

    state = torch.nn.Linear(3, 4).state_dict() | {"half": torch.ones(2, dtype=torch.float16)}
    torch.save(state, folder / "new.bin")
    torch.save(state, folder / "legacy.bin", _use_new_zipfile_serialization=False)


def read_torch(folder: Path, name: str) -> None:
    from keras_attention.interop.torch_file import load_torch_file

    load_torch_file(folder / name)


def write_safetensors(folder: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"a": np.ones((3, 4), "float32"), "b": np.zeros(5, "f2")}, folder / WEIGHTS)


WEIGHTS = "model.safetensors"


def read_safetensors(folder: Path, name: str) -> None:
    from keras_attention.interop.marian_weights import Weights

    Weights(folder)


def write_marian(folder: Path) -> None:
    from interop.conftest import make_marian

    make_marian(folder)


def read_marian(folder: Path, name: str) -> None:
    from keras_attention.tasks import Translator

    Translator.from_marian(folder)(["The dog sees the cat."])


def make_task(kind: str) -> Any:
    """Returns a small task with random weights."""
    from keras_attention import models, tasks, text
    from keras_attention.generation import BeamSearch, GreedySearch

    tokenizer = text.CharacterTokenizer.train(LINES)
    size = tokenizer.vocabulary_size
    if kind == "rnn":
        model = models.seq2seq(size, size, 8, 8)
        return tasks.Translator(model, tokenizer, tokenizer, GreedySearch(5))
    if kind == "transformer":
        model = models.transformer(size, size, "tiny")
        return tasks.Translator(model, tokenizer, tokenizer, BeamSearch(2, max_new_tokens=5))
    if kind == "classifier":
        model = models.classifier(size, num_classes=2, num_layers=1)
        return tasks.TextClassifier(model, tokenizer, ["one", "two"])
    model = models.captioner(size, image_size=32, hidden_dim=8)
    return tasks.Captioner(model, tokenizer, GreedySearch(5))


def _task(kind: str, share: float) -> Reader:
    return Reader(lambda folder: make_task(kind).save(folder), read_task, share)


def read_task(folder: Path, name: str) -> None:
    import numpy as np

    from keras_attention.tasks import Captioner, load_task

    task = load_task(folder)
    task([np.zeros((32, 32, 3), "uint8")] if isinstance(task, Captioner) else ["ein hund"])


def write_checkpoint(folder: Path) -> None:
    import numpy as np

    from keras_attention.recipes.checkpoint import Checkpoints, Progress

    progress = Progress(
        run_id="a", epoch=1, best=2.5, best_epoch=1, stopped=False, history={"loss": [1.5]},
        settings={"seed": 0}, environment={},
    )  # fmt: skip
    arrays = [np.ones((3, 4), "float32"), np.array(5, "int32")]
    Checkpoints(folder).save({"model.npz": arrays, "training.npz": arrays[:1]}, progress)


def read_checkpoint(folder: Path, name: str) -> None:
    from keras_attention.recipes.checkpoint import Checkpoints

    Checkpoints(folder).load()


def write_tflite(folder: Path) -> None:
    make_task("rnn").export(folder, "tflite", ["ein hund"])


def write_saved_model(folder: Path) -> None:
    make_task("rnn").export(folder, "saved_model", ["ein hund"])


def read_export(folder: Path, name: str) -> None:
    from keras_attention.tasks import load_exported

    load_exported(folder)(["ein hund"])


def verify_export(folder: Path, name: str) -> None:
    from keras_attention.export import ExportError, verify

    try:
        verify(folder)
    except ExportError as error:  # a changed output: not an error of the reader
        raise ValueError(str(error)) from None


class FirstLines(io.StringIO):
    """A pipe to `head`: it closes after some lines, since a small file may have millions."""

    def write(self, text: str) -> int:
        self.count = getattr(self, "count", 0) + text.count("\n")
        if self.count > 1000:
            raise BrokenPipeError
        return len(text)

    def fileno(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)


def run_command(folder: Path, name: str) -> None:
    """Runs `generate` and `evaluate`; a status other than 0 and 2, or several lines, fail."""
    from keras_attention.cli import main

    data = folder / "data.gz"
    commands = [
        ["generate", str(folder), "--input", str(data)],
        ["evaluate", str(folder), "--source", str(data)],
    ]
    for command in commands:
        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(FirstLines()):
            status = main(command)
        lines = [
            line for line in stderr.getvalue().splitlines() if ": warning: " not in line and line
        ]
        if status == 2:
            assert len(lines) == 1 and "\x1b" not in lines[0], lines
            assert name.split("/")[0] in lines[0] or str(folder) in lines[0], lines
            raise ValueError(f"{folder}: {lines[0]}")
        assert status == 0, status


def write_command(folder: Path) -> None:
    make_task("rnn").save(folder / "task")
    for path in (folder / "task").iterdir():
        shutil.move(path, folder)
    (folder / "task").rmdir()
    write_text(folder)
    (folder / "a.gz").rename(folder / "data.gz")
    (folder / "a.txt").unlink()


READERS = {
    "images": Reader(write_images, read_image, 12),
    "text": Reader(write_text, read_text, 4),
    "json": Reader(write_json, read_json, 4),
    **{f"{kind} tokenizer": _tokenizer(kind) for kind in ("wordpiece", "unigram", "bpe")},
    "character tokenizer": _tokenizer("characters"),
    "Marian tokenizer": Reader(write_marian_tokenizer, read_tokenizer),
    "torch": Reader(write_torch, read_torch, 6),
    "safetensors": Reader(write_safetensors, read_safetensors, 3),
    "Marian folder": Reader(write_marian, read_marian, 0.4),
    "training checkpoint": Reader(write_checkpoint, read_checkpoint, 2),
    "RNN task": _task("rnn", 0.6),
    "Transformer task": _task("transformer", 0.25),
    "classifier task": _task("classifier", 0.25),
    "captioner task": _task("captioner", 0.25),
    "TFLite export": Reader(write_tflite, read_export, 0.25),
    "SavedModel export": Reader(write_saved_model, read_export, 0.15),
    "verify TFLite": Reader(write_tflite, verify_export, 0.15),
    "verify SavedModel": Reader(write_saved_model, verify_export, 0.1),
    "command line": Reader(write_command, run_command, 0.2),
}
