"""Tests that every tokenizer must pass: round trips, special tokens, graphs and saving."""

import gzip

import keras
import numpy as np
import pytest
import tensorflow as tf
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from keras_attention.text import (
    SPECIALS,
    CharacterTokenizer,
    SentencePieceTokenizer,
    WordPieceTokenizer,
    load_tokenizer,
)
from keras_attention.utils.limits import limits

LINES = [
    "ein hund läuft über die straße",
    "zwei hunde laufen [END] nach hause",
    "Ein Mann schläft , Ärzte auch",
    "o\u0301 und \ufb01 ﾃ",
] * 3


def train(kind, source=LINES, **options):
    size = {} if kind == "characters" else {"vocabulary_size": 120}
    if kind in ("unigram", "bpe"):
        return SentencePieceTokenizer.train(source, model_type=kind, **size, **options)
    return {"wordpiece": WordPieceTokenizer, "characters": CharacterTokenizer}[kind].train(
        source, **size, **options
    )


KINDS = ["wordpiece", "unigram", "bpe", "characters"]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return train(request.param)


def texts(strings):
    return [string.decode("utf-8") for string in strings.numpy()]


def test_vocabulary(tokenizer):
    assert tuple(tokenizer.vocabulary[:4]) == SPECIALS
    assert len(tokenizer.vocabulary) == tokenizer.vocabulary_size
    assert tokenizer.vocabulary_size <= 120
    assert tokenizer.tokens([2, 0, 4]) == ["[END]", "[PAD]", tokenizer.vocabulary[4]]


def test_round_trip(tokenizer):
    lines = LINES[:1] + LINES[2:3] + ["ein hund auch"]
    ids = tokenizer.tokenize(lines)
    assert ids.dtype == tf.int32
    assert 3 not in ids.flat_values.numpy()
    assert texts(tokenizer.detokenize(ids)) == lines
    assert texts(tokenizer.detokenize(tokenizer.encode(lines))) == lines


def test_text_never_becomes_special_tokens(tokenizer):
    ids = tokenizer.tokenize(["[END] [PAD] [START] ein", "[PAD]"]).flat_values.numpy()
    assert ids.min() >= 3
    assert texts(tokenizer.detokenize(tokenizer.encode(["ein [END] hund"])))[0].endswith("hund")


def test_encode(tokenizer):
    lengths = tokenizer.tokenize(LINES[:2]).row_lengths().numpy()
    ids = tokenizer.encode([*LINES[:2], ""]).numpy()
    assert ids.dtype == "int32"
    assert ids.shape == (3, lengths.max() + 1)
    assert [list(row).index(2) for row in ids] == [*lengths, 0]
    assert (ids == 0).sum() == ids.size - lengths.sum() - 3
    assert tokenizer.encode([]).shape == (0, 0)
    assert tokenizer.detokenize(np.zeros((0, 0), "int32")).shape == (0,)


def test_truncation(tokenizer):
    whole = tokenizer.encode(LINES[:1]).numpy()
    with pytest.warns(UserWarning, match="2 of 3 texts have more than 3 tokens"):
        ids = tokenizer.encode([LINES[0], "", LINES[1]], max_length=4).numpy()
    assert ids.shape == (3, 4)
    assert list(ids[0]) == [*whole[0, :3], 2]
    assert list(ids[1]) == [2, 0, 0, 0]
    with pytest.raises(ValueError, match="Received: max_length=0"):
        tokenizer.encode(LINES, max_length=0)


def test_detokenize_stops_at_end_and_drops_special_tokens(tokenizer):
    (row,) = tokenizer.tokenize(["ein hund"]).to_list()
    ids = [[1, *row, 2, *row], [0, *row, 0, 2, *row[1:]], [2] * (2 * len(row) + 2)]
    assert texts(tokenizer.detokenize(ids)) == ["ein hund", "ein hund", ""]
    assert texts(tokenizer.detokenize([[3]])) == ["[UNK]"]


def test_ids_out_of_range(tokenizer):
    size = tokenizer.vocabulary_size
    for wrong in (-1, size, 2**40):
        with pytest.raises(ValueError, match=f"{size - 1}. Received: {wrong}"):
            tokenizer.detokenize(np.array([[4, wrong]]))
        with pytest.raises(ValueError, match=f"Received: {wrong}"):
            tokenizer.tokens([wrong])
    assert tf.function(tokenizer.detokenize)(tf.constant([[size]])).numpy() == b"[UNK]"


def test_wrong_ranks(tokenizer):
    with pytest.raises(ValueError, match=r"\(batch,\). Received"):
        tokenizer.encode("ein hund")
    with pytest.raises(ValueError, match=r"\(batch, time\). Received: ids.shape=\(2,\)"):
        tokenizer.detokenize([4, 5])


def test_not_utf8(tokenizer):
    ids = tokenizer.tokenize(tf.constant([b"ein \xff hund"]))
    assert texts(tokenizer.detokenize(ids)) == ["ein [UNK] hund"]


def test_white_space(tokenizer):
    assert texts(tokenizer.detokenize(tokenizer.tokenize(["ein\thund\0auch"]))) == ["ein hund auch"]
    expected = "  ein  hund " if isinstance(tokenizer, CharacterTokenizer) else "ein hund"
    assert texts(tokenizer.detokenize(tokenizer.tokenize(["  ein  hund "]))) == [expected]


@pytest.mark.slow_on_tensorflow(quick_cases=1)
def test_graph_equals_eager(tokenizer):
    lines = [*LINES, ""]
    eager = tokenizer.encode(lines, max_length=64)
    strings = [tf.TensorSpec([None], tf.string)]
    graph = tf.function(lambda text: tokenizer.encode(text, 64), input_signature=strings)
    np.testing.assert_array_equal(graph(tf.constant(lines)), eager)
    dataset = tf.data.Dataset.from_tensor_slices(lines).batch(len(lines)).map(graph)
    np.testing.assert_array_equal(next(iter(dataset)), eager)
    back = tf.function(tokenizer.detokenize)(eager)
    assert texts(back) == texts(tokenizer.detokenize(eager))
    assert graph(tf.constant(["ein hund " * 40])).numpy()[0, -1] == 2


def test_setting_the_random_seed_changes_nothing(tokenizer):
    # TensorFlow's reset destroys the resources that kernels own.
    graph = tf.function(lambda text: tokenizer.encode(text, 64))
    before = graph(tf.constant(LINES)).numpy()
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(graph(tf.constant(LINES)), before)
    np.testing.assert_array_equal(tokenizer.encode(LINES), before)


def test_save_and_load(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "new" / "folder")
    loaded = load_tokenizer(str(tmp_path / "new" / "folder"))
    assert type(loaded) is type(tokenizer)
    assert loaded.vocabulary == tokenizer.vocabulary
    assert loaded.get_config() == tokenizer.get_config()
    np.testing.assert_array_equal(loaded.encode(LINES), tokenizer.encode(LINES))
    tokenizer.save(tmp_path / "new" / "folder")
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 2


def test_saved_model(tokenizer, tmp_path):
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        "serve",
        lambda text: tokenizer.detokenize(tokenizer.encode(text, 64)),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    archive.write_out(tmp_path / "saved", verbose=False)
    serve = tf.saved_model.load(tmp_path / "saved").serve
    lines = [LINES[0], "", "ein hund"]
    assert texts(serve(tf.constant(lines))) == lines


@pytest.mark.parametrize("kind", KINDS)
def test_normal_forms(kind):
    composed, compatible = "\u00f3", "fi \u30c6"
    for form in ("NFC", "NFKC", None):
        tokenizer = train(kind, normalization=form)
        tokens = "".join(tokenizer.vocabulary[4:])
        assert (composed in tokens) == (form is not None)
        assert ("\ufb01" in tokens) == (form != "NFKC")
        other_ids = tokenizer.encode(["o\u0301 \ufb01 \uff83"]).numpy().tolist()
        assert (tokenizer.encode([f"{composed} \ufb01 \uff83"]).numpy().tolist() == other_ids) == (
            form is not None
        )
        assert (tokenizer.encode([f"{composed} {compatible}"]).numpy().tolist() == other_ids) == (
            form == "NFKC"
        )


@pytest.mark.parametrize("kind", KINDS)
def test_lowercase(kind, tmp_path):
    train(kind, lowercase=True).save(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.lowercase
    assert "Ä" not in "".join(tokenizer.vocabulary)
    ids = tokenizer.tokenize(["ÄRZTE schläft Straße"])
    assert texts(tokenizer.detokenize(ids)) == ["ärzte schläft straße"]


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_two_languages(kind, tmp_path):
    german, english = tmp_path / "a.de", tmp_path / "a.en.gz"
    german.write_text("ein hund\n\nzwei hunde\n", encoding="utf-8")
    english.write_bytes(gzip.compress(b"a dog\nmy dogs\n"))
    joint = train(kind, [str(german), str(english)])
    assert set("zwyg") <= set("".join(joint.vocabulary[4:]))
    assert (
        joint.vocabulary == train(kind, ["ein hund", "zwei hunde", "a dog", "my dogs"]).vocabulary
    )


@pytest.mark.parametrize("kind", KINDS)
def test_learning_from_no_text(kind, tmp_path):
    (tmp_path / "empty").write_text(" \n\n")
    for source in ([], ["", "  "], tmp_path / "empty"):
        with pytest.raises(ValueError, match="at least one line that is not blank.*Received"):
            train(kind, source)
    with pytest.raises(ValueError, match="Received: normalization='NFX'"):
        train(kind, normalization="NFX")


def test_vocabulary_too_small():
    for kind in (WordPieceTokenizer, SentencePieceTokenizer):
        with pytest.raises(ValueError, match="Received: .*6"):
            kind.train(LINES, vocabulary_size=6)
    with pytest.raises(ValueError, match="Received: model_type='word'"):
        SentencePieceTokenizer.train(LINES, 100, model_type="word")


def test_load_errors(tmp_path):
    with pytest.raises(ValueError, match=r"tokenizer\.json.*Received"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"class_name": "Words", "config": {}}')
    with pytest.raises(ValueError, match="Received: class_name='Words'"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        "[]",
        "[" * 100_000,
        '{"class_name": ["WordPieceTokenizer"]}',
        '{"class_name": "WordPieceTokenizer"}',
        '{"class_name": "WordPieceTokenizer", "config": {"lowercase": 1, "other": 2}}',
        '{"class_name": "WordPieceTokenizer", "config": {"normalization": ["NFC"]}}',
        '{"class_name": "SentencePieceTokenizer", "config": {}}',
        '{"class_name": "MarianTokenizer", "config": {"vocabulary": 5}}',
    ],
)
def test_damaged_configurations_are_value_errors_that_name_the_folder(config, tmp_path):
    (tmp_path / "tokenizer.json").write_text(config)
    (tmp_path / "vocabulary.txt").write_text("[PAD]\n[START]\n[END]\n[UNK]\na\n")
    (tmp_path / "sentencepiece.model").write_bytes(b"\x0a\x05no")
    with pytest.raises(ValueError, match=f"Received: .*{tmp_path.name}"):
        load_tokenizer(tmp_path)


def test_files_of_a_tokenizer_are_limited(tmp_path, monkeypatch):
    train("wordpiece").save(tmp_path)
    monkeypatch.setattr(limits, "tokenizer_bytes", 10)
    with pytest.raises(ValueError, match=r"at most 10 bytes, .* Received: '.*vocabulary\.txt'"):
        load_tokenizer(tmp_path)


def test_models_that_fail_on_their_own_pieces_are_refused(tmp_path):
    """A letter whose type is that of a control symbol, which text never contains."""
    train("characters").save(tmp_path)
    path = tmp_path / "sentencepiece.model"
    model = ModelProto.FromString(path.read_bytes())
    model.pieces[6].type = ModelProto.SentencePiece.CONTROL
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=f"Received: .*{tmp_path.name}"):
        load_tokenizer(tmp_path)
