"""Keras, SavedModel and TFLite continue prompts equally for all position encodings."""

import numpy as np
import pytest
import tensorflow as tf

from helpers import convert, model_inputs, write_saved_model
from keras_attention.export.tflite.runner import TFLiteRunner
from keras_attention.generation import BeamSearch, GreedySearch, Sampling
from keras_attention.models import causal_lm
from keras_attention.tasks import TextGenerator, load_exported
from keras_attention.text import CharacterTokenizer, WordPieceTokenizer
from keras_attention.types import Batch
from keras_attention.utils.manifest import read_manifest

BEAM = BeamSearch(3, coverage_penalty=0.1, num_return_sequences=2, max_new_tokens=7)
SAMPLE = Sampling(top_k=5, top_p=0.9, seed=3, num_return_sequences=2, max_new_tokens=7)
PROMPTS = ["a", "bcade", "deed abba", "äx", "cab cab cab cab"]
LIMIT = 12

# The parities have language models of two layers, one of them with rotary positions and beams.
KINDS = {
    "relative, sampled, grouped": (SAMPLE, {"positions": "relative", "num_key_value_heads": 1}),
    "learned, greedy": (GreedySearch(7), {"positions": "learned", "max_length": LIMIT + 7}),
    "sinusoidal, post": (BEAM, {"positions": "sinusoidal", "norm": "post"}),
    "marian": (BEAM, {"positions": "marian"}),
    "alibi, window": (BEAM, {"positions": "alibi", "window": 3}),
    "none, rms, gated": (BEAM, {"positions": None, "norm_kind": "rms", "activation": "swiglu"}),
    "rotary, qk norm, soft cap": (BEAM, {"qk_norm": True, "soft_cap": 4.0, "use_bias": False}),
}


def make(strategy=BEAM, tokenizer=None, seed=0, **options):
    tokenizer = tokenizer or CharacterTokenizer.train(["abcde ä"])
    sizes = {"num_layers": 1, "hidden_dim": 8, "intermediate_dim": 16, "num_heads": 2}
    model = causal_lm(tokenizer.vocabulary_size, **sizes, **options)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.8, weight.shape))
    return TextGenerator(model, tokenizer, strategy, LIMIT)


@pytest.mark.slow(cases=1)
@pytest.mark.parametrize(("strategy", "options"), KINDS.values(), ids=KINDS)
def test_exports_equal_the_model(tmp_path, strategy, options):
    task = make(strategy, **options)
    write_saved_model(task, tmp_path / "saved")
    details = tf.saved_model.load(str(tmp_path / "saved")).signatures["details"]
    (tmp_path / "model.tflite").write_bytes(convert(task))
    runner = TFLiteRunner(tmp_path)
    longest = ("abc de" * LIMIT)[-LIMIT:]
    for prompts in ([""], ["bcade"], ["x" + longest], ["", "abcdea", "ab", longest, "eä x"]):
        source = model_inputs(task, prompts)
        assert source.shape == (len(prompts), max(1, min(LIMIT, max(map(len, prompts)))))
        expected = task.runner(source, details=True)
        names = np.array(["", *task.tokenizer.vocabulary[1:]])

        saved = details(text=tf.constant(prompts))
        tokens = [[[t.decode() for t in row] for row in n] for n in saved["target_tokens"].numpy()]
        assert tokens == names[expected["ids"]].tolist()
        texts = [[t.decode() for t in row] for row in saved["text"].numpy()]
        assert texts == task.postprocessor.texts(expected["ids"], Batch(source))
        np.testing.assert_allclose(saved["score"], expected["scores"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(saved["attention"], expected["attention"], atol=1e-5)

        outputs = runner(source, details=True)
        np.testing.assert_array_equal(outputs["ids"], expected["ids"])
        np.testing.assert_allclose(outputs["scores"], expected["scores"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(outputs["attention"], expected["attention"], atol=1e-5)
        np.testing.assert_array_equal(runner(source)["ids"], expected["ids"])


@pytest.mark.slow
def test_a_loaded_export_works_like_the_task(tmp_path):
    """With WordPiece, whose spaces depend on the prompt."""
    lines = ["ein hund schläft", "zwei hunde laufen schnell", "der hund läuft"]
    strategy = Sampling(temperature=5.0, num_return_sequences=2, max_new_tokens=7)
    task = make(strategy, WordPieceTokenizer.train(lines, vocabulary_size=70))
    prompts = ["der hund", "", "zwei hunde laufen schnell ein hund"]
    expected = task.generate(prompts)
    assert any(result.text.startswith(" ") for results in expected for result in results)
    for name in ("saved_model", "tflite"):
        report = task.export(tmp_path / name, name, prompts)
        where = tmp_path / name / "1" if name == "saved_model" else tmp_path / name
        written = read_manifest(where / "verification.json")
        assert written == {key: value for key, value in report.items() if key != "path"}
        assert report["task"] == "TextGenerator"
        assert report["agreement"]["equal"] == report["agreement"]["compared"] >= 2 * len(prompts)
        loaded = load_exported(tmp_path / name)
        results = loaded.generate(prompts, batch_size=3)
        for ours, theirs in zip(results, expected, strict=True):
            assert [result.text for result in ours] == [result.text for result in theirs]
            np.testing.assert_allclose(
                [result.score for result in ours], [result.score for result in theirs], rtol=1e-4
            )
        assert loaded([]) == []
    phone = tmp_path / "tflite"
    assert sorted(path.name for path in phone.iterdir()) == [
        "export.json", "model.tflite", "samples.json", "source", "verification.json"
    ]  # fmt: skip
    with pytest.warns(UserWarning, match="1 of 1 prompts have more than 12 tokens"):
        long = load_exported(phone)("der hund " * 20)
    with pytest.warns(UserWarning, match="1 of 1 prompts"):
        assert task("der hund " * 20) == long
