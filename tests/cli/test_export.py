import json

import pytest

from keras_attention.cli import main
from keras_attention.cli.export import print_verification
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.tasks import load_exported

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow_only]
VERIFICATION = {
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


def test_agreement_is_printed(capsys):
    print_verification(VERIFICATION)
    assert capsys.readouterr().out.splitlines() == [
        "tflite: phone, 2.0 MB; 2.5 ms per input (model: 10.0 ms)",
        "  verified: 29 of 30 outputs equal (1 ties), scores within 2e-06, "
        "attention weights within 0",
    ]


def test_scores_of_reduced_precision_are_printed(capsys):
    scores = {
        "against": "references",
        "export": {"exact_match": 40.0, "bleu": 36.9},
        "model": {"exact_match": 40.5, "bleu": 37.0},
    }
    print_verification(
        {**VERIFICATION, "agreement": {"compared": 30, "equal": 27}, "scores": scores}
    )
    assert capsys.readouterr().out.splitlines()[1] == (
        "  compared with references: exact_match 40.0, bleu 36.9 "
        "(model: exact_match 40.5, bleu 37.0); 27 of 30 outputs equal"
    )


def test_models_that_ctranslate2_lacks_are_refused(trained, tmp_path, error_of):
    error = error_of("export", trained[0], "--ctranslate2", tmp_path / "bulk")
    assert "is for Transformers" in error and "encoder: RecurrentEncoder; decoder: RNN" in error
    assert not list(tmp_path.iterdir())


def test_models_that_transformers_js_lacks_are_refused(trained, tmp_path, error_of):
    error = error_of("export", trained[0], "--transformers-js", tmp_path / "web")
    assert "is for translators with a Transformer" in error and "decoder: RNNDecoder" in error
    assert not list(tmp_path.iterdir())


def test_models_that_litert_lm_lacks_are_refused(trained, tmp_path, error_of):
    error = error_of("export", trained[0], "--litert-lm", tmp_path / "lm")
    assert "is for language models" in error and "a model of class EncoderDecoder" in error
    assert not list(tmp_path.iterdir())


def test_tflite_steps(trained, files, tmp_path, capsys):
    folder = str(tmp_path / "steps")
    options = f"--tflite-steps {folder} --static 1,12 --samples {files.source} --num-samples 3"
    assert main(["export", str(trained[0]), *options.split()]) == 0
    header, line = capsys.readouterr().out.splitlines()[1:3]
    assert header.startswith("tflite_steps: ") and line == "  verified: 5 of 5 outputs equal"
    assert main(["verify", folder]) == 0
    printed = []
    for model in ([str(trained[0]), "--num-beams", "1"], [folder]):
        capsys.readouterr()
        assert main(["generate", *model, "the dog is big ."]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and printed[0]


def test_onnx(trained, files, tmp_path, capsys):
    folder = str(tmp_path / "onnx")
    options = f"--onnx {folder} --samples {files.source} --num-samples 3"
    assert main(["export", str(trained[0]), *options.split()]) == 0
    assert "onnx: " in capsys.readouterr().out
    assert main(["verify", folder]) == 0
    assert "outputs equal" in capsys.readouterr().out
    printed = []
    for model in (str(trained[0]), folder):
        assert main(["generate", model, "--scores", "the dog is big ."]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and printed[0]


def test_int8_weights_and_a_saved_model_without_tokenizer(trained, files, tmp_path):
    serving, phone = tmp_path / "serving", tmp_path / "phone"
    options = (
        f"--saved-model {serving} --no-tokenizer --tflite {phone} --weights int8 --allow-loss "
        f"--samples {files.source} --references {files.target} --num-samples 3 --steps --options"
    )
    assert main(["export", str(trained[0]), *options.split()]) == 0
    verification = json.loads((phone / "verification.json").read_text())
    assert (verification["weights"], verification["scores"]["against"]) == ("int8", "references")
    assert verification["scores"]["samples"] == 3
    signatures = TFLiteRunner(phone / "model.tflite").interpreter.get_signature_list()
    assert set(signatures) == {"serving_default", "details", "encode", "decode", "with_options"}
    verification = json.loads((serving / "1" / "verification.json").read_text())
    assert verification["tensorflow_text_operations"] == []


@pytest.fixture(scope="module")
def exports(trained, files, tmp_path_factory):
    """Both exports of the trained model."""
    folder = tmp_path_factory.mktemp("exports")
    both = folder / "serving", folder / "phone"
    options = f"--saved-model {both[0]} --tflite {both[1]} --samples {files.source} --num-samples 3"
    assert main(["export", str(trained[0]), *options.split()]) == 0
    return both


def test_exports_are_verified(exports):
    serving, phone = exports
    for path in (serving / "1" / "verification.json", phone / "verification.json"):
        verification = json.loads(path.read_text())
        assert verification["agreement"]["equal"] == verification["agreement"]["compared"] == 10
    assert (serving / "1" / "saved_model.pb").is_file()
    assert (phone / "model.tflite").is_file()


def test_exports_generate_and_evaluate_like_the_model(exports, model, files, tmp_path, capsys):
    commands = (
        ["generate", "--scores", "the dog is big ."],
        ["evaluate", "--source", str(files.source), "--target", str(files.target)],
    )
    for command, *options in commands:
        printed = []
        for folder in (model, *map(str, exports)):
            assert main([command, folder, *options]) == 0
            printed.append(capsys.readouterr().out)
        assert printed[0] == printed[1] == printed[2]
        assert printed[0]


def test_invalid_exports(exports, model, tmp_path, error_of):
    serving, phone = exports
    assert "`--onnx`, `--transformers-js`, `--litert-lm` is required" in error_of("export", model)
    assert f"Received: '{phone}'" in error_of("export", phone, "--saved-model", tmp_path / "new")
    missing = tmp_path / "no"
    wrong = "export", model, "--saved-model", tmp_path / "new", "--samples", missing
    assert f"Received: path='{missing}'" in error_of(*wrong)
    assert "`text` is for translators" in error_of(
        "export", model, "--tflite", tmp_path / "new", "--text"
    )
    assert not (tmp_path / "new").exists()
    for option in ("--num-beams", "--max-new-tokens"):
        assert f"`{option}` requires a trained task" in error_of(
            "generate", serving, option, "2", "text"
        )
    assert f"Received: '{phone}'" in error_of(
        "attention", phone, "a", "--output", tmp_path / "a.png"
    )


def test_unrelated_folder_is_not_overwritten(model, capsys):
    assert main(["export", model, "--tflite", model]) == 2
    assert "must be new, empty, or contain model.tflite" in capsys.readouterr().err


def test_classifier_is_exported(make_labeler, tmp_path, capsys, error_of):
    task = make_labeler("label", ["a", "b"])
    task.save(tmp_path / "model")
    phone = tmp_path / "phone"
    assert main(["export", str(tmp_path / "model"), *f"--tflite {phone} --static 2,8".split()]) == 0
    assert "outputs equal, scores within" in capsys.readouterr().out
    assert json.loads((phone / "export.json").read_text())["static_shape"] == [2, 8]
    assert load_exported(phone)(["abc", "d", "e"]) == task(["abc", "d", "e"])
    wrong = "export", tmp_path / "model", "--tflite", tmp_path / "new", "--static"
    assert "Received: static=(3,)" in error_of(*wrong, "3")
    assert "The model must generate text" in error_of("generate", tmp_path / "model", "abc")
    for option in ("--num-beams", "--length-penalty", "--max-new-tokens"):
        wrong = "export", tmp_path / "model", "--tflite", tmp_path / "new", option, "2"
        assert "require a task that generates text" in error_of(*wrong)
