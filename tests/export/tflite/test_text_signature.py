"""TFLite's signature `text`, from strings to strings, returns what the task returns."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_attention.export import ExportError
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.export.verification.compare import check_consistent
from keras_attention.generation import BeamSearch
from keras_attention.layers import ResidualCNN
from keras_attention.models import captioner, classifier, seq2seq
from keras_attention.tasks import Captioner, TextClassifier, Translator, load_exported
from keras_attention.text import (
    MarianTokenizer,
    SentencePieceTokenizer,
    WordPieceTokenizer,
)

pytestmark = pytest.mark.slow

LINES = ["Ein Hund läuft schnell.", "ein hund schläft", "zwei hunde laufen", "DER LÄUFER schläft!"]
TEXTS = [*LINES, "", "日本 läuft", "ein\thund\u00a0la\u0308uft", "schläft " * 20]
WORDS = WordPieceTokenizer.train(LINES, 80, lowercase=True)
PIECES = SentencePieceTokenizer.train(LINES, 60)
MARIAN = MarianTokenizer(PIECES._write(), PIECES.vocabulary[:-1])


def with_large_weights(model, scale=0.8):
    rng = np.random.default_rng(2)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, scale, weight.shape))
    return model


def translator(tokenizer=WORDS):
    size = tokenizer.vocabulary_size
    model = with_large_weights(seq2seq(size, size, 8, 8))
    strategy = BeamSearch(3, num_return_sequences=2, max_new_tokens=9)
    return Translator(model, tokenizer, tokenizer, strategy, 12)


def text_classifier():
    sizes = {"num_layers": 1, "hidden_dim": 8, "intermediate_dim": 16, "num_heads": 2}
    model = with_large_weights(classifier(WORDS.vocabulary_size, 3, **sizes), 0.4)
    return TextClassifier(model, WORDS, ["eins", "zwei", "größer"], 12)


def image_captioner():
    backbone = ResidualCNN((8, 12))
    model = captioner(WORDS.vocabulary_size, (16, 24), backbone=backbone, hidden_dim=8)
    strategy = BeamSearch(3, num_return_sequences=2, max_new_tokens=5)
    return Captioner(with_large_weights(model, 0.6), WORDS, strategy)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    task, folder = translator(), tmp_path_factory.mktemp("phone") / "small"
    return task, folder, task.export(folder, "tflite", TEXTS[:4], text=True)


def run_text(folder, **inputs):
    return TFLiteRunner(folder, text_operations=True).call("text", inputs)


def strings(rows):
    return [[text.decode() for text in row] for row in rows]


@pytest.mark.filterwarnings("ignore:.*were truncated")
def test_strings_to_strings(exported):
    task, folder, _ = exported
    for texts in (TEXTS[:1], TEXTS):
        outputs = run_text(folder, text=WORDS.normalize(texts).numpy())
        expected = task.generate(texts)
        assert strings(outputs["text"]) == [[result.text for result in row] for row in expected]
        scores = [[result.score for result in row] for row in expected]
        np.testing.assert_allclose(outputs["score"], scores, rtol=1e-5)


def test_other_signatures_need_no_text_operations(exported):
    task, folder, report = exported
    assert load_exported(folder)(TEXTS[:3]) == task(TEXTS[:3])
    assert report["runtime"].endswith("built-in operations; `text` with TensorFlow Text's")
    run = Interpreter(str(folder / "model.tflite")).get_signature_runner("text")
    with pytest.raises(RuntimeError, match="unresolved custom op: FastWordpieceTokenize"):
        run(text=np.array(["ein"], object))


def test_labels(tmp_path):
    task = text_classifier()
    task.export(tmp_path / "new", "tflite", TEXTS[:4], text=True)
    outputs = run_text(tmp_path / "new", text=WORDS.normalize(TEXTS[:4]).numpy())
    for row, labels in enumerate(task.classify(TEXTS[:4])):
        assert [x.decode() for x in outputs["label"][row]] == [each.label for each in labels]
        np.testing.assert_allclose(
            outputs["probability"][row], [each.probability for each in labels], rtol=1e-4
        )


def test_captions(tmp_path):
    task = image_captioner()
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), "uint8")
    task.export(tmp_path / "new", "tflite", list(images), text=True)
    outputs = run_text(tmp_path / "new", source=images)
    assert [row[0].decode() for row in outputs["text"]] == task(list(images))


def test_other_strings_are_an_error(exported):
    task, folder, _ = exported
    signatures = task.signatures("tflite", text=True)
    batch = task.preprocessor(["ein hund"])
    outputs = {
        "serving_default": TFLiteRunner(folder)(np.asarray(batch.model_inputs)),
        "text": run_text(folder, text=WORDS.normalize(["ein hund"]).numpy()),
    }
    check_consistent(signatures, outputs, batch)
    outputs["text"]["text"] = np.array([[b"der hund", b"ein hund"]], object)
    with pytest.raises(ExportError, match="`text` must return what `serving_default` .*Received:"):
        check_consistent(signatures, outputs, batch)


@pytest.mark.filterwarnings("ignore:.*were truncated")
@pytest.mark.parametrize("tokenizer", [PIECES, MARIAN], ids=["SentencePiece", "Marian"])
def test_sentencepiece(tokenizer, tmp_path):
    task = translator(tokenizer)
    task.export(tmp_path / "new", "tflite", TEXTS[:4], text=True)
    outputs = run_text(tmp_path / "new", text=tokenizer.normalize(TEXTS).numpy())
    expected = [[result.text for result in row] for row in task.generate(TEXTS)]
    assert strings(outputs["text"]) == expected
    assert len({text for row in expected for text in row}) > 3


def test_other_tokenizers_raise(make_labeler, tmp_path):
    with pytest.raises(ValueError, match=r"WordPiece.* text=True .*'CharacterTokenizer'\]"):
        make_labeler("tags", ["a", "b"]).export(tmp_path / "new", "tflite", text=True)
    task = translator(SentencePieceTokenizer.train(LINES, 60, model_type="bpe"))
    with pytest.raises(ValueError, match=r"type unigram .* Translator with \['SentencePieceTok"):
        task.export(tmp_path / "new", "tflite", text=True)


@pytest.mark.filterwarnings("ignore:.*were truncated")
@pytest.mark.parametrize("texts", [TEXTS, [""], TEXTS[-1:]])
def test_ids_of_normalized_text_are_those_of_encode(texts):
    expected = WORDS.encode(texts, 12).numpy()
    ids = WORDS.encode_normal(WORDS.normalize(texts), 12).numpy()
    np.testing.assert_array_equal(ids[:, : expected.shape[1]], expected)
    assert not ids[:, expected.shape[1] :].any()
    empty = WORDS.encode_normal(tf.constant([], tf.string), 12)
    assert empty.shape[0] == 0
