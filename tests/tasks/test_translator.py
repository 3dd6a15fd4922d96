"""Text in, text out, and what is kept of it on disk."""

import json
import warnings

import numpy as np
import pytest

from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.models import seq2seq
from keras_attention.ops.ids import END
from keras_attention.tasks import Translator
from keras_attention.tasks.translator import cut
from keras_attention.text import CharacterTokenizer

TEXTS = ["abc", "", "cab bac cab", "b", "x"]


def make(strategy=None, seed=0, **options):
    source, target = CharacterTokenizer.train(["abc "]), CharacterTokenizer.train(["ABCä"])
    model = seq2seq(source.vocabulary_size, target.vocabulary_size, 8, 8, **options)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.8, weight.shape))
    return Translator(model, source, target, strategy or GreedySearch(max_new_tokens=6), 12)


@pytest.fixture(scope="module")
def translator():
    return make()


def test_it_is_tokenizer_model_and_detokenizer(translator):
    ids = translator.source_tokenizer.encode(["cab"])
    found = translator.model.generate(ids.numpy(), translator.strategy)
    text = translator.target_tokenizer.detokenize(found.ids[:, 0]).numpy()[0].decode()
    assert translator("cab") == text
    ((answer,),) = translator.generate(["cab"])
    assert answer.text == text
    np.testing.assert_allclose(answer.score, found.scores[0, 0], rtol=1e-5)


def test_a_string_or_a_list(translator):
    answers = translator(TEXTS)
    assert isinstance(answers, list) and all(isinstance(answer, str) for answer in answers)
    assert len(set(answers)) > 1
    assert [translator(text) for text in TEXTS] == answers
    assert translator(tuple(TEXTS)) == answers
    assert isinstance(translator(""), str)
    assert translator([]) == [] and translator.generate([]) == []


def test_batches_change_nothing_and_keep_the_order(translator):
    texts = TEXTS * 3
    for batch_size in (1, 4, 100):
        got = translator.generate(texts, batch_size=batch_size, progress=batch_size == 4)
        assert [answers[0].text for answers in got] == translator(TEXTS) * 3


def test_one_string_is_no_list_of_letters(translator):
    with pytest.raises(ValueError, match="texts: expected a list .* Received: 'abc'"):
        translator.generate("abc")


def test_long_texts_are_cut_with_a_warning_that_counts(translator):
    long = "abc" * 20
    with pytest.warns(UserWarning, match="2 of 3 texts have more than 11 tokens"):
        answers = translator([long, "a", long + "a"])
    assert answers == translator([long[:11], "a", long[:11]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        translator(long[:11])


def test_the_n_best():
    got = make(BeamSearch(3, num_return_sequences=2, max_new_tokens=5)).generate(TEXTS)
    assert [len(answers) for answers in got] == [2] * len(TEXTS)
    assert all(first.score >= second.score for first, second in got)


@pytest.mark.parametrize(
    "strategy", [GreedySearch(max_new_tokens=6), BeamSearch(3, max_new_tokens=6)]
)
@pytest.mark.parametrize("text", ["cab", ""])
def test_attention_names_rows_and_columns(strategy, text):
    translator = make(strategy)
    found = translator.attention(text)
    assert found.source == [*text, "[END]"]
    assert found.weights.shape == (len(found.target), len(found.source))
    np.testing.assert_allclose(found.weights.sum(-1), 1.0, rtol=1e-5)
    kept = [token for token in found.target if token not in ("[END]", "[UNK]")]
    assert "".join(kept) == translator(text).replace("[UNK]", "")


def test_save_and_load(translator, tmp_path):
    translator.save(tmp_path / "task")
    assert sorted(path.name for path in (tmp_path / "task").iterdir()) == [
        "model.keras", "source", "target", "task.json"
    ]  # fmt: skip
    loaded = Translator.load(tmp_path / "task")
    assert loaded.generate(TEXTS) == translator.generate(TEXTS)
    assert repr(loaded.strategy) == repr(translator.strategy)
    assert loaded.max_source_length == 12
    other = Translator.load(
        str(tmp_path / "task"), BeamSearch(2, num_return_sequences=2, max_new_tokens=4)
    )
    assert [len(answers) for answers in other.generate(["a"])] == [2]


def test_saving_again_replaces_and_a_failure_keeps_the_old(translator, tmp_path, monkeypatch):
    make(seed=1).save(tmp_path / "task")
    translator.save(tmp_path / "task")
    expected = translator(TEXTS)
    assert Translator.load(tmp_path / "task")(TEXTS) == expected
    broken = make(seed=2)

    def fail(folder):
        raise OSError("disk full")

    monkeypatch.setattr(broken.target_tokenizer, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        broken.save(tmp_path / "task")
    assert Translator.load(tmp_path / "task")(TEXTS) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["task"]


def test_a_folder_of_something_else_is_not_replaced(translator, tmp_path):
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(ValueError, match="Received: .* holds something else"):
        translator.save(tmp_path)
    assert (tmp_path / "letter").read_text() == "dear"


def test_folders_that_hold_no_translator(translator, tmp_path):
    with pytest.raises(ValueError, match="Expected a JSON file .*task.json"):
        Translator.load(tmp_path / "none")
    translator.save(tmp_path / "task")
    path = tmp_path / "task" / "task.json"
    task = json.loads(path.read_text())
    for changed in ({**task, "format": 99}, {**task, "task": "Captioner"}, {}):
        path.write_text(json.dumps(changed))
        with pytest.raises(ValueError, match="expected a Translator .*format 1. Received: "):
            Translator.load(tmp_path / "task")
    path.write_text(json.dumps(task))
    (tmp_path / "task" / "model.keras").unlink()
    with pytest.raises(ValueError, match="model.keras"):
        Translator.load(tmp_path / "task")


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_tokenizer_must_be_the_models(side):
    model = seq2seq(8, 8, 8, 8)
    fits, other = CharacterTokenizer.train(["abcd"]), CharacterTokenizer.train(["ab"])
    tokenizers = (other, fits) if side == "source" else (fits, other)
    with pytest.raises(ValueError, match=f"{side}_tokenizer: .* 8 tokens. Received: 6 tokens"):
        Translator(model, *tokenizers)


def test_cut():
    assert cut(np.array([5, 6, END, 0, 0])) == [5, 6, END]
    assert cut(np.array([5, 6, 7])) == [5, 6, 7]
    assert cut(np.array([END, 5, 0])) == [END]
    assert cut(np.array([0, 0])) == []
