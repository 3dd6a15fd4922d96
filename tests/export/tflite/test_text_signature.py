"""A TFLite file that takes strings and gives strings says what the model says."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, InterpreterWithCustomOps
from tensorflow_text.core.pybinds.tflite_registrar import SELECT_TFTEXT_OPS

from keras_attention.export import ExportError, load_exported
from keras_attention.export.tflite import text_signature as lite_text
from keras_attention.export.verification.compare import Output
from keras_attention.generation import BeamSearch
from keras_attention.layers import ResidualCNN
from keras_attention.models import captioner, classifier, seq2seq
from keras_attention.tasks import Captioner, TextClassifier, Translator
from keras_attention.text import WordPieceTokenizer

LINES = ["Ein Hund läuft schnell.", "ein hund schläft", "zwei hunde laufen", "DER LÄUFER schläft!"]
TEXTS = [*LINES, "", "日本 läuft", "ein\thund\u00a0la\u0308uft", "schläft " * 20]
WORDS = WordPieceTokenizer.train(LINES, 80, lowercase=True)


def loud(model, scale=0.8):
    rng = np.random.default_rng(2)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, scale, weight.shape))
    return model


def translator():
    model = loud(seq2seq(WORDS.vocabulary_size, WORDS.vocabulary_size, 8, 8))
    return Translator(
        model, WORDS, WORDS, BeamSearch(3, num_return_sequences=2, max_new_tokens=9), 12
    )


def text_classifier():
    sizes = {"num_layers": 1, "hidden_dim": 8, "intermediate_dim": 16, "num_heads": 2}
    model = loud(classifier(WORDS.vocabulary_size, 3, **sizes), 0.4)
    return TextClassifier(model, WORDS, ["eins", "zwei", "größer"], 12)


def image_captioner():
    grid = ResidualCNN((8, 12))
    model = captioner(WORDS.vocabulary_size, (16, 24), grid=grid, hidden_dim=8)
    return Captioner(
        loud(model, 0.6), WORDS, BeamSearch(3, num_return_sequences=2, max_new_tokens=5)
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    task, folder = translator(), tmp_path_factory.mktemp("phone") / "small"
    return task, folder, task.export(folder, "tflite", TEXTS[:4], text=True)


def runner(folder):
    file = str(folder / "model.tflite")
    interpreter = InterpreterWithCustomOps(SELECT_TFTEXT_OPS, model_path=file)
    return interpreter.get_signature_runner("text")


@pytest.mark.filterwarnings("ignore:.*were truncated")
def test_strings_in_and_strings_out(exported):
    task, folder, _ = exported
    run = runner(folder)
    for texts in (TEXTS[:1], TEXTS):
        found = run(text=WORDS.normalize(texts).numpy())
        expected = task.generate(texts)
        assert [[x.decode() for x in row] for row in found["text"]] == [
            [answer.text for answer in row] for row in expected
        ]
        np.testing.assert_allclose(
            found["score"], [[answer.score for answer in row] for row in expected], rtol=1e-5
        )


def test_other_signatures_need_no_operations_of_tensorflow_text(exported):
    task, folder, said = exported
    assert load_exported(folder)(TEXTS[:3]) == task(TEXTS[:3])
    assert said["runtime"].endswith("built-in operations; `text` with tensorflow-text's")
    run = Interpreter(str(folder / "model.tflite")).get_signature_runner("text")
    with pytest.raises(RuntimeError, match="unresolved custom op: FastWordpieceTokenize"):
        run(text=np.array(["ein"], object))


def test_labels(tmp_path):
    task = text_classifier()
    task.export(tmp_path / "new", "tflite", TEXTS[:4], text=True)
    found = runner(tmp_path / "new")(text=WORDS.normalize(TEXTS[:4]).numpy())
    for row, labels in enumerate(task.classify(TEXTS[:4])):
        assert [x.decode() for x in found["label"][row]] == [each.label for each in labels]
        np.testing.assert_allclose(
            found["probability"][row], [each.probability for each in labels], rtol=1e-4
        )


@pytest.mark.slow
def test_captions(tmp_path):
    task = image_captioner()
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), "uint8")
    task.export(tmp_path / "new", "tflite", list(images), text=True)
    found = runner(tmp_path / "new")(source=images)
    assert [row[0].decode() for row in found["text"]] == task(list(images))


def test_a_file_that_says_something_else_is_refused(exported):
    task, folder, _ = exported
    batches = [["ein hund"]]
    (answers,) = task.generate(batches[0])
    right = Output([[each.text for each in answers]], None, [[each.score for each in answers]])
    lite_text.check(task, folder / "model.tflite", batches, [right], 1e-4)
    wrong = right._replace(texts=[["der hund", "ein hund"]])
    with pytest.raises(
        ExportError, match="Expected text to say what serving_default says, .*Received: .*"
    ):
        lite_text.check(task, folder / "model.tflite", batches, [wrong], 1e-4)


def test_other_tokenizers_are_refused(make_labeler, tmp_path):
    for kind in ("label", "tags"):
        with pytest.raises(ValueError, match=r"WordPiece. Received: text=True .*'Characters'\]"):
            make_labeler(kind, ["a", "b"]).export(tmp_path / "new", "tflite", text=True)


@pytest.mark.filterwarnings("ignore:.*were truncated")
@pytest.mark.parametrize("texts", [TEXTS, [""], TEXTS[-1:]])
def test_ids_are_those_of_encode(texts):
    expected = WORDS.encode(texts, 12).numpy()
    found = WORDS.encode_normal(WORDS.normalize(texts), 12).numpy()
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)
    assert not found[:, expected.shape[1] :].any()
    empty = WORDS.encode_normal(tf.constant([], tf.string), 12)
    assert empty.shape[0] == 0
