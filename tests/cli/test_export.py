import json

import pytest

from keras_attention.cli import main
from keras_attention.cli.export import report
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.tasks import load_exported

pytestmark = pytest.mark.tensorflow_only
PROOF = {
    "format": "tflite",
    "path": "phone",
    "agreement": {
        "compared": 30,
        "equal": 29,
        "ties": 1,
        "max_score_difference": 2.4e-6,
        "max_attention_difference": 0.0,
    },
    "median_milliseconds": {"model": 10.0, "export": 2.5},
    "bytes": {"model.tflite": 1_900_000, "task.json": 100_000},
}


def test_report_says_what_was_compared_and_how_far_it_agreed(capsys):
    report(PROOF)
    assert capsys.readouterr().out.splitlines() == [
        "tflite: phone, 2.0 MB; 2.5 ms a text (the model: 10.0 ms)",
        "  proven: 29 of 30 answers equal (1 ties), scores within 2e-06, attention within 0",
    ]


def test_report_of_a_file_that_rounds(capsys):
    scores = {
        "against": "references",
        "export": {"exact_match": 40.0, "bleu": 36.9},
        "model": {"exact_match": 40.5, "bleu": 37.0},
    }
    report({**PROOF, "agreement": {"compared": 30, "equal": 27}, "scores": scores})
    assert capsys.readouterr().out.splitlines()[1] == (
        "  scored against references: exact_match 40.0, bleu 36.9 "
        "(the model: exact_match 40.5, bleu 37.0); 27 of 30 answers equal"
    )


@pytest.mark.slow
def test_rounded_weights_and_a_server_without_tokenizers(trained, files, tmp_path):
    serving, phone = tmp_path / "serving", tmp_path / "phone"
    options = (
        f"--saved-model {serving} --no-tokenizer --tflite {phone} --weights int8 --allow-loss "
        f"--sentences {files.source} --references {files.target} --count 3 --steps --options"
    )
    assert main(["export", str(trained[0]), *options.split()]) == 0
    said = json.loads((phone / "verification.json").read_text())
    assert (said["weights"], said["scores"]["against"]) == ("int8", "references")
    assert said["scores"]["samples"] == 3
    signatures = TFLiteRunner(phone / "model.tflite").interpreter.get_signature_list()
    assert set(signatures) == {"serving_default", "details", "encode", "step", "with_options"}
    said = json.loads((serving / "1" / "verification.json").read_text())
    assert said["tensorflow_text_operations"] == []


@pytest.fixture(scope="module")
def exports(trained, files, tmp_path_factory):
    """Both exports of the trained model."""
    folder = tmp_path_factory.mktemp("exports")
    both = folder / "serving", folder / "phone"
    options = f"--saved-model {both[0]} --tflite {both[1]} --sentences {files.source} --count 3"
    assert main(["export", str(trained[0]), *options.split()]) == 0
    return both


def test_exports_are_proven(exports):
    serving, phone = exports
    for proof in (serving / "1" / "verification.json", phone / "verification.json"):
        said = json.loads(proof.read_text())
        assert said["agreement"]["equal"] == said["agreement"]["compared"] == 10
    assert (serving / "1" / "saved_model.pb").is_file()
    assert (phone / "model.tflite").is_file()


def test_exports_generate_and_evaluate_as_the_model_does(exports, model, files, tmp_path, capsys):
    commands = (
        ["generate", "--scores", "the dog is big ."],
        ["evaluate", "--source", str(files.source), "--target", str(files.target)],
    )
    for command, *options in commands:
        said = []
        for folder in (model, *map(str, exports)):
            assert main([command, folder, *options]) == 0
            said.append(capsys.readouterr().out)
        assert said[0] == said[1] == said[2]
        assert said[0]


def test_wrong_exports(exports, model, tmp_path, refused):
    serving, phone = exports
    assert "--saved-model or --tflite" in refused("export", model)
    assert f"Received: '{phone}'" in refused("export", phone, "--saved-model", tmp_path / "new")
    missing = tmp_path / "no"
    wrong = "export", model, "--saved-model", tmp_path / "new", "--sentences", missing
    assert f"Received: '{missing}'" in refused(*wrong)
    assert "`text` is for translators" in refused(
        "export", model, "--tflite", tmp_path / "new", "--text"
    )
    assert not (tmp_path / "new").exists()
    for option in ("--beam", "--max-length"):
        assert f"{option}: expected with a folder that 'train' wrote" in refused(
            "generate", serving, option, "2", "text"
        )
    assert f"Received: '{phone}'" in refused(
        "attention", phone, "a", "--output", tmp_path / "a.png"
    )


def test_another_folder_is_not_overwritten(model, capsys):
    assert main(["export", model, "--tflite", model]) == 2
    assert "something else" in capsys.readouterr().err


def test_what_gives_labels_is_exported_too(make_labeler, tmp_path, capsys, refused):
    task = make_labeler("label", ["a", "b"])
    task.save(tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), "--tflite", str(tmp_path / "phone")]) == 0
    assert "answers equal, scores within" in capsys.readouterr().out
    assert load_exported(tmp_path / "phone")(["abc"]) == task(["abc"])
    assert "Expected what answers with text" in refused("generate", tmp_path / "model", "abc")
    for option in ("--beam", "--length-penalty", "--max-length"):
        wrong = "export", tmp_path / "model", "--tflite", tmp_path / "new", option, "2"
        assert "--max-length: expected with what generates" in refused(*wrong)
