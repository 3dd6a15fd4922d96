import gzip
import io
import os
import shutil
import types

import pytest

from keras_attention.cli import infer, main
from keras_attention.metrics import corpus_scores
from keras_attention.tasks import GeneratedText

pytestmark = pytest.mark.tensorflow_only
TEXTS = ["the dog is big .", "", "the cat is small ."]


def run(capsys, *arguments):
    assert main(list(map(str, arguments))) == 0
    return capsys.readouterr().out


def type_in(monkeypatch, content: bytes):
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))


def test_arguments_a_file_and_standard_input_say_the_same(
    model, task, tmp_path, monkeypatch, capsys
):
    expected = "".join(f"{text}\n" for text in task(TEXTS))
    assert run(capsys, "generate", model, *TEXTS) == expected

    path = tmp_path / "texts.gz"
    path.write_bytes(gzip.compress("\n".join(TEXTS).encode()))
    assert run(capsys, "generate", model, "--input", path) == expected

    type_in(monkeypatch, "\r\n".join(TEXTS).encode())
    assert run(capsys, "generate", model) == expected


def test_no_lines_give_no_lines(model, monkeypatch, capsys):
    type_in(monkeypatch, b"")
    assert run(capsys, "generate", model) == ""


def test_scores_and_beam(model, capsys):
    score, _, text = run(capsys, "generate", model, "--scores", TEXTS[0]).partition("\t")
    assert float(score) < 0
    one = run(capsys, "generate", model, "--beam", 1, "--length-penalty", 0, TEXTS[0])
    assert one == text
    wide = run(capsys, "generate", model, "--scores", "--beam", 8, "--length-penalty", 0, TEXTS[0])
    assert float(wide.split("\t")[0]) >= float(score)


def test_max_length(model, capsys):
    long, short = (
        float(run(capsys, "generate", model, "--scores", "--max-length", limit, "a").split("\t")[0])
        for limit in (10, 2)
    )
    assert long < 3 * short < 0  # before training every token is about as unlikely


def test_the_bar_is_drawn_on_standard_error(capsys, monkeypatch):
    class Model:
        def generate(self, texts, progress):
            print("bar" if progress else "no bar")
            return [[GeneratedText(text.upper(), -1.0)] for text in texts]

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert [best.text for best in infer.answers(Model(), ["a", "b"])] == ["A", "B"]
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "bar\n")


def test_evaluate_reads_two_files_or_one_with_tabs(model, task, files, tmp_path, capsys):
    lines = [path.read_text(encoding="utf-8").splitlines()[:20] for path in files[:2]]
    source, target, out = tmp_path / "source", tmp_path / "target", tmp_path / "new" / "output"
    for path, side in ((source, lines[0]), (target, lines[1])):
        path.write_text("\n".join(side), encoding="utf-8")
    said = run(capsys, "evaluate", model, "--source", source, "--target", target, "--output", out)
    bleu, chrf = said.splitlines()
    assert bleu.startswith("bleu: ") and "case:mixed" in bleu and "tok:13a" in bleu
    assert chrf.startswith("chrf: ") and "nc:6" in chrf
    assert out.read_text(encoding="utf-8").splitlines() == task(lines[0])

    table = tmp_path / "pairs.tsv.gz"
    table.write_bytes(gzip.compress("\n".join(map("\t".join, zip(*lines, strict=True))).encode()))
    options = "--lowercase", "--bleu-tokenize", "none"
    lower = run(capsys, "evaluate", model, "--source", table, *options)
    assert "case:lc" in lower and "tok:none" in lower
    score, _ = corpus_scores(task(lines[0]), lines[1], "none", True)["chrf"]
    assert lower.split()[4] == f"{score:.2f}"


def test_attention_draws(model, tmp_path, capsys):
    picture = tmp_path / "new" / "man.png"
    said = run(capsys, "attention", model, "the dog is big .", "--output", picture)
    assert f"The picture is {picture}" in said
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_wrong_models(model, tmp_path, refused):
    nothing = tmp_path / "nothing"
    assert f"or a Marian model's. Received: '{nothing}'" in refused("generate", nothing, "a")
    assert f"Received: '{tmp_path}'" in refused("generate", tmp_path, "a")
    assert f"or a Marian model's. Received: '{tmp_path}'" in refused(
        "attention", tmp_path, "a", "--output", tmp_path / "a.png"
    )
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    (broken / "model.keras").write_text("nothing that Keras wrote")
    assert str(broken) in refused("generate", broken, "a")
    os.remove(broken / "task.json")
    assert "task.json" in refused("generate", broken, "a")


def test_wrong_input(model, files, tmp_path, monkeypatch, refused):
    type_in(monkeypatch, b"fine\n\xff\xfe\n")
    assert "UTF-8 text in 'standard input', line 2, byte 1" in refused("generate", model)
    missing, short, empty = tmp_path / "no", tmp_path / "short", tmp_path / "empty"
    short.write_text("one line\n")
    empty.write_text("")
    assert f"Received: '{missing}'" in refused("generate", model, "--input", missing)
    evaluate = "evaluate", model, "--target", files.target, "--source"
    assert f"Received: '{missing}'" in refused(*evaluate, missing)
    assert f"Line 2 of '{files.target}' has no partner" in refused(*evaluate, short)
    assert "source, tab, target" in refused("evaluate", model, "--source", short)
    assert "at least one line" in refused("evaluate", model, "--source", empty)
    assert "Received: '13b'" in refused(*evaluate, files.source, "--bleu-tokenize", "13b")


def test_wrong_strategies(model, tmp_path, refused):
    assert "Received: num_beams=49, vocabulary_size=50" in refused(
        "generate", model, "--beam", 49, "a"
    )
    assert "with --beam" in refused("generate", model, "--length-penalty", 1, "a")
    picture = tmp_path / "picture.docx"
    assert f"Received: {picture}" in refused("attention", model, "a", "--output", picture)


def test_an_export_that_answers_with_labels(tmp_path, capsys):
    from helpers import write_saved_model
    from keras_attention.models import classifier
    from keras_attention.tasks import TextClassifier
    from keras_attention.text import CharacterTokenizer

    letters = CharacterTokenizer.train(["ab"])
    model = classifier(letters.vocabulary_size, 2, num_layers=1, hidden_dim=8, num_heads=2)
    write_saved_model(TextClassifier(model, letters, ["yes", "no"]), tmp_path / "1")
    assert main(["generate", str(tmp_path), "ab"]) == 2
    assert "Expected what answers with text." in capsys.readouterr().err
