"""A Marian model as a task: it is fine-tuned, saved, exported, and taken by the commands."""

import json

import numpy as np
import pytest

from helpers import train_sentencepiece
from keras_attention.cli import main
from keras_attention.generation import GreedySearch
from keras_attention.recipes import TrainingConfig, fit
from keras_attention.tasks import Translator, load_exported
from keras_attention.text import MarianTokenizer, load_tokenizer
from onnx_web import assert_equal_in_chromium, assert_equal_in_node, in_chromium, in_node

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow_only]


@pytest.fixture(scope="module")
def translator(opus) -> Translator:
    return Translator.from_marian(opus.folder, max_source_length=40)


@pytest.fixture(scope="module")
def expected(opus) -> list[str]:
    """Translations by transformers, with beam search of 4 beams."""
    batch = opus.tokenizer(opus.texts, return_tensors="pt", padding=True)
    return opus.tokenizer.batch_decode(opus.model.generate(**batch), skip_special_tokens=True)


def test_translations_equal_those_of_transformers(translator, opus, expected):
    assert translator(opus.texts) == expected
    assert len(set(expected)) > 3
    whole = Translator.from_marian(opus.folder, GreedySearch(max_new_tokens=3))
    assert whole.max_source_length == 64 and repr(whole.strategy) == repr(
        GreedySearch(max_new_tokens=3)
    )


def test_tokenizer_is_saved_and_loaded(translator, opus, tmp_path):
    tokenizer = translator.target_tokenizer
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert isinstance(again, MarianTokenizer) and again.vocabulary == tokenizer.vocabulary
    ids, loaded_ids = (each.encode(opus.texts).numpy() for each in (tokenizer, again))
    np.testing.assert_array_equal(ids, loaded_ids)
    spm = (opus.folder / "target.spm").read_bytes()
    assert (tmp_path / "sentencepiece.model").read_bytes() == spm


def test_bytes_and_control_pieces_are_written_as_sentencepiece_writes_them():
    from sentencepiece import SentencePieceProcessor

    proto = train_sentencepiece(["ein Hund läuft"] * 9, 300, byte_fallback=True, model_type="bpe")
    model = SentencePieceProcessor(model_proto=proto)
    pieces = [model.id_to_piece(id) for id in range(model.vocab_size())]
    specials = ["[PAD]", "[START]", "[END]", "[UNK]"]
    tokenizer = MarianTokenizer(proto, specials + [p for p in pieces if p != "<unk>"])
    for text in ("ein Hund", "läuft 漢字 ein", "<s> ein </s>"):
        ids = tokenizer.encode([text])
        assert tokenizer.tokens(ids[0])[:-1] == model.encode(text, out_type=str)
        assert tokenizer.detokenize(ids).numpy()[0].decode() == text
    half = [[tokenizer.vocabulary.index(p) for p in ("▁", "<s>", "<0xE6>", "▁", "e")]]
    assert tokenizer.detokenize(half).numpy()[0].decode() == "\ufffd e"
    with pytest.raises(ValueError, match="Received: .*=b'no model'"):
        MarianTokenizer(b"no model", [*specials, "a"])


def test_fit_goes_on_from_it(opus, tmp_path):
    task = Translator.from_marian(
        opus.folder, GreedySearch(max_new_tokens=26), max_source_length=40
    )
    pairs = opus.pairs[:60]
    before = task.model.get_weights()
    config = TrainingConfig(epochs=3, batch_size=20, max_length=30, warmup_steps=1)
    history = fit(task, pairs, pairs[:4], tmp_path / "tuned", config)
    loss = history.history["loss"]
    assert loss[-1] < loss[0] < 3.0  # it does not begin from nothing: ln 46 is 3.8
    assert any((a != b).any() for a, b in zip(before, task.model.get_weights(), strict=True))
    tuned = Translator.load(tmp_path / "tuned")
    assert isinstance(tuned.source_tokenizer, MarianTokenizer)
    assert len(tuned([source for source, _ in pairs[:4]])) == 4


def test_a_saved_task_says_the_same(translator, opus, expected, tmp_path):
    translator.save(tmp_path / "saved")
    again = Translator.load(tmp_path / "saved")
    assert repr(again.strategy) == repr(translator.strategy)
    assert again(opus.texts) == expected


@pytest.fixture(scope="module")
def exports(opus, tmp_path_factory):
    """A server version and a TFLite file, by one command."""
    folder = tmp_path_factory.mktemp("exports")
    sentences = folder / "sentences"
    sentences.write_text("".join(f"{text}\n" for text in opus.texts if text.strip()))
    both = folder / "serving", folder / "phone"
    options = f"--saved-model {both[0]} --tflite {both[1]} --samples {sentences} --num-samples 3"
    assert main(["export", str(opus.folder), *options.split()]) == 0
    return both


def test_one_command_exports_it(exports, opus, expected):
    serving, phone = exports
    for report in (serving / "1" / "verification.json", phone / "verification.json"):
        agreement = json.loads(report.read_text())["agreement"]
        assert agreement["equal"] == agreement["compared"] == 10
    for folder in exports:
        assert load_exported(folder)(opus.texts) == expected
    assert np.shape(load_exported(phone).generate(opus.texts)) == (len(opus.texts), 1, 2)


def test_the_commands_take_its_folder(opus, translator, capsys):
    text = opus.texts[0]
    assert main(["generate", str(opus.folder), text]) == 0
    assert capsys.readouterr().out == f"{translator(text)}\n"
    options = [
        "--num-beams",
        "2",
        "--length-penalty",
        "0",
        "--max-new-tokens",
        "9",
        "--scores",
        text,
    ]
    assert main(["generate", str(opus.folder), *options]) == 0
    score, written = capsys.readouterr().out.rstrip("\n").split("\t")
    changed = Translator.from_marian(
        opus.folder, translator.strategy.replace(num_beams=2, length_penalty=0.0, max_new_tokens=9)
    )
    ((best,),) = changed.generate([text])
    assert (written, score) == (best.text, f"{best.score:.4f}")
    assert main(["export", str(opus.folder.parent), "--tflite", "x"]) == 2
    assert "or of a Marian model" in capsys.readouterr().err


def test_ctranslate2(opus, expected, tmp_path, capsys):
    greedy = GreedySearch(max_new_tokens=40, force_end=True)
    translator = Translator.from_marian(opus.folder, greedy, max_source_length=40)
    report = translator.export(tmp_path / "greedy", "ctranslate2", opus.texts)
    assert report["agreement"]["equal"] == report["agreement"]["compared"]
    texts = [text for text in opus.texts if text]  # an empty one has an empty translation
    assert load_exported(tmp_path / "greedy")(texts) == translator(texts)
    (tmp_path / "samples.txt").write_text("\n".join(opus.texts), encoding="utf-8")
    options = f"--ctranslate2 {tmp_path / 'beams'} --samples {tmp_path / 'samples.txt'}"
    assert main(["export", str(opus.folder), *options.split()]) == 0
    capsys.readouterr()
    assert main(["generate", str(tmp_path / "beams"), texts[0]]) == 0
    assert capsys.readouterr().out == f"{expected[0]}\n"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(None, id="4 beams"),
        pytest.param(GreedySearch(max_new_tokens=26), id="greedy", marks=pytest.mark.exhaustive),
    ],
)
def onnx(request, opus, tmp_path_factory):
    """An ONNX export and its task; `None` is the strategy of the folder, beam search."""
    translator = Translator.from_marian(opus.folder, request.param, max_source_length=40)
    folder = tmp_path_factory.mktemp("onnx") / "opus"
    return translator, folder, translator.export(folder, "onnx", opus.texts[:4])


def test_onnx(onnx, opus):
    translator, folder, report = onnx
    assert report["agreement"]["equal"] == report["agreement"]["compared"]
    texts = [source for source, _ in opus.pairs[::5]]
    assert len(texts) == 20
    assert load_exported(folder)(texts) == translator(texts)


@in_node
def test_onnxruntime_web(onnx, opus, tmp_path):
    translator, folder, _ = onnx
    texts = [source for source, _ in opus.pairs[::5]]
    assert_equal_in_node(translator, texts, folder, tmp_path)


@in_chromium
def test_onnxruntime_web_in_chromium(onnx, opus):
    translator, folder, _ = onnx
    texts = [source for source, _ in opus.pairs[::5]]
    assert_equal_in_chromium(translator, texts, folder)
