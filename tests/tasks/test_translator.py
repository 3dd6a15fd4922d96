"""Translator: text to text, saving and loading."""

import warnings

import numpy as np
import pytest

from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.models import seq2seq
from keras_attention.ops.ids import END
from keras_attention.tasks import Translator
from keras_attention.tasks.generation_task import truncate_at_end
from keras_attention.text import CharacterTokenizer
from keras_attention.utils.manifest import read_manifest, write_manifest

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


def test_it_tokenizes_generates_and_detokenizes(translator):
    ids = translator.source_tokenizer.encode(["cab"])
    outputs = translator.model.generate(ids.numpy(), translator.strategy)
    text = translator.target_tokenizer.detokenize(outputs.ids[:, 0]).numpy()[0].decode()
    assert translator("cab") == text
    ((result,),) = translator.generate(["cab"])
    assert result.text == text
    np.testing.assert_allclose(result.score, outputs.scores[0, 0], rtol=1e-5)


def test_a_string_or_a_list(translator):
    results = translator(TEXTS)
    assert isinstance(results, list) and all(isinstance(result, str) for result in results)
    assert len(set(results)) > 1
    assert [translator(text) for text in TEXTS] == results
    assert translator(tuple(TEXTS)) == results
    assert isinstance(translator(""), str)
    assert translator([]) == [] and translator.generate([]) == []


def test_batch_size_changes_neither_results_nor_order(translator):
    texts = TEXTS * 3
    for batch_size in (1, 4, 100):
        got = translator.generate(texts, batch_size=batch_size, progress=batch_size == 4)
        assert [results[0].text for results in got] == translator(TEXTS) * 3


def test_generate_needs_a_list(translator):
    with pytest.raises(ValueError, match="`texts` must be a list. Received: 'abc'"):
        translator.generate("abc")


def test_long_texts_are_truncated_with_a_warning(translator):
    long = "abc" * 20
    with pytest.warns(UserWarning, match="2 of 3 texts have more than 11 tokens"):
        results = translator([long, "a", long + "a"])
    assert results == translator([long[:11], "a", long[:11]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        translator(long[:11])


@pytest.mark.usefixtures("eager")
def test_hypotheses_are_sorted():
    got = make(BeamSearch(3, num_return_sequences=2, max_new_tokens=5)).generate(TEXTS)
    assert [len(results) for results in got] == [2] * len(TEXTS)
    assert all(first.score >= second.score for first, second in got)


@pytest.mark.parametrize(
    "strategy", [GreedySearch(max_new_tokens=6), BeamSearch(3, max_new_tokens=6)]
)
@pytest.mark.parametrize("text", ["cab", ""])
@pytest.mark.usefixtures("eager")
def test_attention_has_source_and_target_tokens(strategy, text):
    translator = make(strategy)
    alignment = translator.attention(text)
    assert alignment.source == [*text, "[END]"]
    assert alignment.weights.shape == (len(alignment.target), len(alignment.source))
    np.testing.assert_allclose(alignment.weights.sum(-1), 1.0, rtol=1e-5)
    tokens = [token for token in alignment.target if token not in ("[END]", "[UNK]")]
    assert "".join(tokens) == translator(text).replace("[UNK]", "")


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
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
    assert [len(results) for results in other.generate(["a"])] == [2]


@pytest.mark.slow
def test_saving_again_replaces_and_a_failure_keeps_the_earlier_task(
    translator, tmp_path, monkeypatch
):
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


def test_a_folder_with_other_files_is_not_replaced(translator, tmp_path):
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(ValueError, match="must be new, empty, or contain task.json.* Received: "):
        translator.save(tmp_path)
    assert (tmp_path / "letter").read_text() == "dear"


def test_loading_from_other_folders_raises(translator, tmp_path):
    with pytest.raises(ValueError, match="must be readable. Received: .*task.json"):
        Translator.load(tmp_path / "none")
    translator.save(tmp_path / "task")
    path = tmp_path / "task" / "task.json"
    task = read_manifest(path)
    for changed in ({**task, "format": 99}, {**task, "task": "Captioner"}, {}):
        write_manifest(path, changed)
        with pytest.raises(ValueError, match="must hold a Translator .*format 2. Received: "):
            Translator.load(tmp_path / "task")
    write_manifest(path, task)
    (tmp_path / "task" / "model.keras").unlink()
    with pytest.raises(ValueError, match="model.keras"):
        Translator.load(tmp_path / "task")


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_tokenizer_must_fit_the_model(side):
    model = seq2seq(8, 8, 8, 8)
    fits, other = CharacterTokenizer.train(["abcd"]), CharacterTokenizer.train(["ab"])
    tokenizers = (other, fits) if side == "source" else (fits, other)
    with pytest.raises(
        ValueError, match=f"`{side}_tokenizer` must .* 8 tokens. Received: 6 tokens"
    ):
        Translator(model, *tokenizers)


def test_ids_are_truncated_at_end():
    assert truncate_at_end(np.array([5, 6, END, 0, 0])) == [5, 6, END]
    assert truncate_at_end(np.array([5, 6, 7])) == [5, 6, 7]
    assert truncate_at_end(np.array([END, 5, 0])) == [END]
    assert truncate_at_end(np.array([0, 0])) == []
