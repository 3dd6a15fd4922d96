import gzip
import io
import os
import shutil
import types

import pytest

from keras_attention.cli import infer, main
from keras_attention.metrics import corpus_scores
from keras_attention.tasks import GeneratedText

pytestmark = [pytest.mark.tensorflow_only, pytest.mark.usefixtures("eager")]
TEXTS = ["the dog is big .", "", "the cat is small ."]


def run(capsys, *arguments):
    assert main(list(map(str, arguments))) == 0
    return capsys.readouterr().out


def set_stdin(monkeypatch, content: bytes):
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))


def test_arguments_file_and_standard_input_give_the_same_outputs(
    model, task, tmp_path, monkeypatch, capsys
):
    expected = "".join(f"{text}\n" for text in task(TEXTS))
    assert run(capsys, "generate", model, *TEXTS) == expected

    path = tmp_path / "texts.gz"
    path.write_bytes(gzip.compress("\n".join(TEXTS).encode()))
    assert run(capsys, "generate", model, "--input", path) == expected

    set_stdin(monkeypatch, "\r\n".join(TEXTS).encode())
    assert run(capsys, "generate", model) == expected


def test_empty_input_gives_no_output(model, monkeypatch, capsys):
    set_stdin(monkeypatch, b"")
    assert run(capsys, "generate", model) == ""


@pytest.mark.slow
def test_scores_and_num_beams(model, capsys):
    score, _, text = run(capsys, "generate", model, "--scores", TEXTS[0]).partition("\t")
    assert float(score) < 0
    one = run(capsys, "generate", model, "--num-beams", 1, "--length-penalty", 0, TEXTS[0])
    assert one == text
    wide = run(
        capsys, "generate", model, "--scores", "--num-beams", 8, "--length-penalty", 0, TEXTS[0]
    )
    assert float(wide.split("\t")[0]) >= float(score)


def test_max_new_tokens(model, capsys):
    long, short = (
        float(
            run(capsys, "generate", model, "--scores", "--max-new-tokens", limit, "a").split("\t")[
                0
            ]
        )
        for limit in (10, 2)
    )
    assert long < 3 * short < 0  # before training every token is about as unlikely


def test_progress_bar_is_on_standard_error(capsys, monkeypatch):
    class Model:
        def predict_iterable(self, texts, progress):
            for text in texts:
                print("bar" if progress else "no bar")
                yield [GeneratedText(text.upper(), -1.0)]

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for output in infer.generate_best(Model(), iter(["a", "b"])):
        print(output.text)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("A\nB\n", "bar\nbar\n")


@pytest.mark.slow
def test_output_file_gets_its_name_when_it_is_complete(model, task, tmp_path, capsys, error_of):
    path = tmp_path / "texts"
    path.write_text("\n".join(TEXTS * 3), encoding="utf-8")
    output = tmp_path / "new" / "output"
    batching = "--batch-size", 4, "--batch-tokens", 30, "--workers", 2
    assert run(capsys, "generate", model, "--input", path, "--output", output, *batching) == ""
    expected = "".join(f"{text}\n" for text in task(TEXTS * 3))
    assert output.read_text(encoding="utf-8") == expected

    path.write_bytes(b"the dog\n" * 5 + b"\xff\n")
    message = error_of("generate", model, "--input", path, "--output", output)
    assert f"The text of '{path}' must be UTF-8. Received: line 6" in message
    assert output.read_text(encoding="utf-8") == expected
    assert [each.name for each in output.parent.iterdir()] == ["output"]

    run(capsys, "generate", model, "--input", output, "--output", output)
    assert output.read_text(encoding="utf-8").splitlines() == task(expected.splitlines())


@pytest.mark.slow
def test_evaluate_reads_two_files_or_one_with_columns(model, task, files, tmp_path, capsys):
    lines = [path.read_text(encoding="utf-8").splitlines()[:20] for path in files[:2]]
    source, target, out = tmp_path / "source", tmp_path / "target", tmp_path / "new" / "output"
    for path, side in ((source, lines[0]), (target, lines[1])):
        path.write_text("\n".join(side), encoding="utf-8")
    printed = run(
        capsys, "evaluate", model, "--source", source, "--target", target, "--output", out
    )
    bleu, chrf = printed.splitlines()
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


def test_attention_writes_a_picture(model, tmp_path, capsys):
    picture = tmp_path / "new" / "man.png"
    printed = run(capsys, "attention", model, "the dog is big .", "--output", picture)
    assert f"The picture is in {picture}" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_invalid_models(model, tmp_path, error_of):
    nothing = tmp_path / "nothing"
    assert f"or of a Marian model. Received: '{nothing}'" in error_of("generate", nothing, "a")
    assert f"Received: '{tmp_path}'" in error_of("generate", tmp_path, "a")
    assert f"or of a Marian model. Received: '{tmp_path}'" in error_of(
        "attention", tmp_path, "a", "--output", tmp_path / "a.png"
    )
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    (broken / "model.keras").write_text("not a file of Keras")
    assert str(broken) in error_of("generate", broken, "a")
    os.remove(broken / "task.json")
    assert "task.json" in error_of("generate", broken, "a")


def test_invalid_input(model, files, tmp_path, monkeypatch, error_of):
    set_stdin(monkeypatch, b"fine\n\xff\xfe\n")
    assert "'standard input' must be UTF-8. Received: line 2, byte 1" in error_of("generate", model)
    missing, short, empty = tmp_path / "no", tmp_path / "short", tmp_path / "empty"
    short.write_text("one line\n")
    empty.write_text("")
    assert f"Received: path='{missing}'" in error_of("generate", model, "--input", missing)
    evaluate = "evaluate", model, "--target", files.target, "--source"
    assert f"Received: path='{missing}'" in error_of(*evaluate, missing)
    assert f"1 lines in '{short}', 200 lines in '{files.target}'" in error_of(*evaluate, short)
    assert "source, tab, target" in error_of("evaluate", model, "--source", short)
    assert "at least one line" in error_of("evaluate", model, "--source", empty)
    assert "Received: tokenize='13b'" in error_of(*evaluate, files.source, "--bleu-tokenize", "13b")


@pytest.mark.slow
def test_invalid_strategies(model, tmp_path, error_of):
    assert "Received: num_beams=49, vocabulary_size=50" in error_of(
        "generate", model, "--num-beams", 49, "a"
    )
    assert "requires `--num-beams`" in error_of("generate", model, "--length-penalty", 1, "a")
    picture = tmp_path / "picture.docx"
    assert f"Received: path={picture}" in error_of("attention", model, "a", "--output", picture)


def test_generate_refuses_an_export_of_a_classifier(tmp_path, capsys):
    from helpers import write_saved_model
    from keras_attention.models import classifier
    from keras_attention.tasks import TextClassifier
    from keras_attention.text import CharacterTokenizer

    letters = CharacterTokenizer.train(["ab"])
    model = classifier(letters.vocabulary_size, 2, num_layers=1, hidden_dim=8, num_heads=2)
    write_saved_model(TextClassifier(model, letters, ["yes", "no"]), tmp_path / "1")
    assert main(["generate", str(tmp_path), "ab"]) == 2
    assert "The model must generate text." in capsys.readouterr().err
