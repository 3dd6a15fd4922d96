"""`tokenizer.json` in the tokenizers library: ids and texts of this library's tokenizers."""

import json

import pytest
import tokenizers

from helpers import train_sentencepiece
from keras_attention.export.transformers_js.tokenizer_json import join_tokenizers
from keras_attention.ops.ids import END, SPECIALS, UNKNOWN
from keras_attention.text import CharacterTokenizer, MarianTokenizer, SentencePieceTokenizer

pytestmark = pytest.mark.tensorflow_only
ENGLISH = ["the dog sees a cat", "a horse hears the dog!", "that is the bird, is it not?"]
GERMAN = ["der Hund hört eine Katze", "ein großer Vogel schläft", "das ist der Hund!"]
TEXTS = [
    *ENGLISH,
    *GERMAN,
    "",
    " ",
    "  two   spaces and a tab\t",
    "The 漢字 dog, ß schön",
    "ﬁne Ｔhe bird",
    "▁the▁ dog ▁",
    "e\u0301 DOG",
]


def pieces(texts, size=60):
    return SentencePieceTokenizer.train(texts, size)


def marian(vocabulary_texts):
    """Returns a tokenizer of English whose vocabulary also has pieces of other texts."""
    protos = [train_sentencepiece(each, 50) for each in (ENGLISH, vocabulary_texts)]
    from sentencepiece import SentencePieceProcessor

    models = [SentencePieceProcessor(model_proto=proto) for proto in protos]
    tokens = sorted({model.id_to_piece(id) for model in models for id in range(3, len(model))})
    vocabulary = [*SPECIALS, *tokens[::2], "ß", ">>deu<<"]
    return [MarianTokenizer(proto, list(dict.fromkeys(vocabulary))) for proto in protos]


PAIRS = {
    "characters": lambda: (CharacterTokenizer.train(ENGLISH), CharacterTokenizer.train(GERMAN)),
    "lower case, NFKC": lambda: (
        CharacterTokenizer.train(ENGLISH, lowercase=True, normalization="NFKC"),
        pieces(GERMAN),
    ),
    "SentencePiece": lambda: (pieces(ENGLISH), CharacterTokenizer.train(GERMAN)),
    "one SentencePiece model": lambda: [pieces(ENGLISH + GERMAN, 90)] * 2,
    "Marian": lambda: marian(GERMAN),
}


@pytest.fixture(scope="module", params=PAIRS)
def pair(request):
    return PAIRS[request.param]()


def test_ids_and_texts(pair):
    source, target = pair
    joint = join_tokenizers(source, target)
    fast = tokenizers.Tokenizer.from_str(json.dumps(joint.contents))
    assert fast.get_vocab_size() == len(joint.source_ids)
    texts = [*TEXTS, ">>deu<< the dog"] if isinstance(source, MarianTokenizer) else TEXTS
    expected = source.encode_ragged(texts).to_list()
    received = [fast.encode(text).ids for text in texts]
    assert [[joint.source_ids[id] for id in row] for row in received] == expected
    for row, own_row in zip(received, expected, strict=True):
        for id, own_id in zip(row, own_row, strict=True):
            if own_id > UNKNOWN:  # what the runner adds
                assert id == own_id + joint.offset
    for ids in target.encode_ragged(TEXTS).to_list():
        decoded = target.detokenize([ids]).numpy()[0].decode()
        assert fast.decode(ids) == decoded
        assert fast.decode([*ids, END, END]) == decoded


def test_one_vocabulary_has_one_set_of_ids():
    tokenizer = pieces(ENGLISH + GERMAN, 90)
    joint = join_tokenizers(tokenizer, tokenizer)
    assert joint.offset == 0
    assert joint.source_ids == list(range(tokenizer.vocabulary_size))
    source = pieces(ENGLISH)
    two = join_tokenizers(source, tokenizer)
    assert two.offset == tokenizer.vocabulary_size - len(SPECIALS)
    own_ids = range(len(SPECIALS), source.vocabulary_size)
    assert two.source_ids == [0, 1, 2, 3, *[UNKNOWN] * two.offset, *own_ids]


def test_it_is_the_tokenizer_of_transformers(written, task):
    transformers = pytest.importorskip("transformers", reason="transformers reads the folder")
    tokenizer = transformers.AutoTokenizer.from_pretrained(written.folder)
    batch = tokenizer(["abba", "", "deed abba cab cab"], padding=True, truncation=True)
    expected = task.source_tokenizer.encode(["abba", "", "deed abba cab cab"], max_length=12)
    offset = task.postprocessor.tokenizer.vocabulary_size - len(SPECIALS)
    received = [[id - offset if id > UNKNOWN else id for id in row] for row in batch["input_ids"]]
    assert received == expected.numpy().tolist()
    assert batch["attention_mask"] == (expected.numpy() != 0).astype(int).tolist()
    assert tokenizer.decode([1, 4, 5, 2, 0], skip_special_tokens=True) == "AB"
