"""Loaded CTranslate2 exports: the same task, with the same results."""

import json
import shutil

import numpy as np
import pytest

from helpers import model_inputs
from keras_attention.export.ctranslate2.runner import CTranslate2Runner
from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.ops.ids import END
from keras_attention.tasks import TextGenerator, Translator, load_exported

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow_only]
TEXTS = ["bca", "x", "deed cab", "a", "cab cab"]


def test_translator(written, small_transformer):
    translator, loaded = small_transformer(), load_exported(written[0])
    assert isinstance(loaded, Translator)
    assert loaded(TEXTS) == translator(TEXTS)
    batches = loaded.predict_iterable(iter(TEXTS), batch_size=2, workers=2)
    assert [row[0].text for row in batches] == translator(TEXTS)
    ours, theirs = translator.attention("bca"), loaded.attention("bca")
    assert (ours.source, ours.target) == (theirs.source, theirs.target)
    np.testing.assert_allclose(ours.weights, theirs.weights, atol=1e-5)
    with pytest.raises(ValueError, match="`strategy` needs the Keras model"):
        loaded.strategy = GreedySearch()


def test_empty_source_has_an_empty_translation(written):
    loaded = load_exported(written[0])
    assert loaded(["", "bca"])[0] == ""
    outputs = loaded.runner(model_inputs(loaded, [""]), details=True)
    assert outputs["ids"][0, 0, :2].tolist() == [END, 0] and not outputs["attention"].any()


def test_strategy_in_the_file_is_checked(written, tmp_path):
    folder = shutil.copytree(written[0], tmp_path / "changed")
    about = json.loads((folder / "export.json").read_text())
    about["search"]["config"]["max_new_tokens"] = 10**9
    (folder / "export.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="`max_new_tokens` must be at most"):
        CTranslate2Runner(folder)


def test_language_model(small_generator, samples, tmp_path):
    report = small_generator.export(tmp_path / "lm", "ctranslate2", samples)
    assert report["agreement"]["equal"] == report["agreement"]["compared"] >= 2 * len(samples)
    loaded = load_exported(tmp_path / "lm")
    assert isinstance(loaded, TextGenerator)
    prompts = ["ab", "", "deed ab", "c"]  # of different lengths
    assert loaded(prompts) == small_generator(prompts)
    with pytest.raises(ValueError, match="Attention weights need a translator"):
        loaded.attention("ab")
    assert (tmp_path / "lm" / "vocabulary.json").is_file()


def test_more_than_32_tokens(small_transformer, tmp_path):
    """The caches of the model grow beyond 32 tokens."""
    translator = small_transformer(GreedySearch(max_new_tokens=40))
    report = translator.export(tmp_path / "long", "ctranslate2", TEXTS)
    assert report["agreement"]["equal"] == report["agreement"]["compared"]
    assert load_exported(tmp_path / "long")(TEXTS) == translator(TEXTS)
    assert max(map(len, translator(TEXTS))) > 32


def test_forced_end_and_suppressed_tokens(small_transformer, tmp_path):
    strategy = GreedySearch(max_new_tokens=6, force_end=True, suppress_tokens=[4, 5])
    translator = small_transformer(strategy)
    report = translator.export(tmp_path / "forced", "ctranslate2", TEXTS)
    assert report["agreement"]["equal"] == report["agreement"]["compared"]
    loaded = load_exported(tmp_path / "forced")
    outputs = loaded.runner(model_inputs(loaded, TEXTS))
    assert not np.isin(outputs["ids"], [4, 5]).any()
    assert (outputs["ids"] == END).any(-1).all()


@pytest.mark.parametrize("type", ["gnmt", "power"])
def test_beams_are_ranked_by_the_strategys_length_penalty(type, written):
    runner = CTranslate2Runner(written[0])
    runner.strategy = BeamSearch(
        3, length_penalty=0.7, length_penalty_type=type, num_return_sequences=2, max_new_tokens=9
    )

    class Result:
        hypotheses = [["A"] * 2 + ["[END]"], ["B"] * 8 + ["[END]"], ["C", "[END]"]]
        scores = [-2.0, -4.0, -1.9]

    outputs = runner._outputs([Result()], (1, 4), False)
    lengths = np.array([3.0, 9.0, 2.0])
    penalty = ((5 + lengths) / 6) ** 0.7 if type == "gnmt" else lengths**0.7
    scores = np.array(Result.scores) / penalty
    best = np.argsort(-scores)[:2]
    np.testing.assert_allclose(outputs["scores"][0], scores[best], rtol=1e-6)
    assert [(row != 0).sum() for row in outputs["ids"][0]] == lengths[best].tolist()


def test_beam_search(small_transformer, samples, tmp_path):
    strategy = BeamSearch(
        3, early_stopping=True, refill_beams=True, num_return_sequences=2, max_new_tokens=40
    )
    translator = small_transformer(strategy)
    report = translator.export(tmp_path / "beams", "ctranslate2", samples, allow_loss=True)
    assert set(report["scores"]["export"]) == {"exact_match", "bleu"}
    hypotheses = load_exported(tmp_path / "beams").generate(TEXTS)
    assert all(len(row) == 2 and row[0].score >= row[1].score for row in hypotheses)
