"""Prompt in, text out: whole, in pieces, and what is kept of it on disk."""

import io
import warnings

import numpy as np
import pytest
from sentencepiece import SentencePieceTrainer

from keras_attention.generation import BeamSearch, GreedySearch, Sampling
from keras_attention.models import causal_lm
from keras_attention.ops.ids import SPECIALS
from keras_attention.tasks import TextGenerator
from keras_attention.text import CharacterTokenizer, SentencePieceTokenizer, WordPieceTokenizer

PROMPTS = ["abc", "", "cab bac cab", "b", "x"]
LINES = ["der hund läuft schnell", "ein hund schläft", "zwei hunde laufen schnell", "der läufer"]


def make(strategy=None, tokenizer=None, seed=0, limit=20, **options):
    tokenizer = tokenizer or CharacterTokenizer.train(["abcä "])
    sizes = {
        "num_layers": 1,
        "hidden_dim": 16,
        "intermediate_dim": 16,
        "num_heads": 2,
        "dropout": 0.0,
    }
    model = causal_lm(tokenizer.vocabulary_size, **sizes, **options)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        if "norm" not in weight.path:
            weight.assign(rng.normal(0, 0.8, weight.shape))
    return TextGenerator(model, tokenizer, strategy or GreedySearch(max_new_tokens=6), limit)


def words(seed=0):
    """Random sentences from the words of LINES."""
    rng = np.random.default_rng(seed)
    vocabulary = sorted(set(" ".join(LINES).split()))
    return [" ".join(rng.choice(vocabulary, n)) for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def writer():
    return make()


def test_a_prompt_has_no_end(writer):
    tokenizer = writer.source_tokenizer
    ids = tokenizer.tokenize(["cab"]).to_tensor().numpy()
    np.testing.assert_array_equal(writer.encode(["cab"]), ids)
    found = writer.model.generate(ids, writer.strategy)
    text = tokenizer.detokenize(found.ids[:, 0]).numpy()[0].decode()
    assert text and writer("cab") == text
    ((answer,),) = writer.generate(["cab"])
    assert answer.text == text
    np.testing.assert_allclose(answer.score, found.scores[0, 0], rtol=1e-5)


def test_a_string_or_a_list(writer):
    answers = writer(PROMPTS)
    assert len(set(answers)) > 1
    assert [writer(prompt) for prompt in PROMPTS] == answers
    assert writer([]) == []
    assert writer.encode([""]).tolist() == [[0]]


@pytest.mark.parametrize(
    "kind, options",
    [
        (CharacterTokenizer, {}),
        (SentencePieceTokenizer, {"vocabulary_size": 45, "model_type": "bpe"}),
        (WordPieceTokenizer, {"vocabulary_size": 70}),
    ],
)
def test_prompt_and_answer_are_the_text_of_all_their_tokens(kind, options):
    """Spaces stand where they stand in the whole text, once."""
    tokenizer = kind.train(LINES, **options)
    # hot, so that all kinds of tokens follow
    writer = make(Sampling(temperature=30.0, num_return_sequences=8, max_new_tokens=8), tokenizer)
    spaces = 0
    for prompt in ["", *words()]:
        (row,) = tokenizer.tokenize([prompt]).to_list()
        ids = writer.model.generate(writer.encode([prompt]), writer.strategy).ids[0]
        whole = tokenizer.detokenize([[*row, *written] for written in ids]).numpy()
        (answers,) = writer.generate([prompt])
        assert [prompt + answer.text for answer in answers] == [text.decode() for text in whole]
        spaces += sum(answer.text.startswith(" ") for answer in answers)
    assert spaces > 0


def test_a_piece_inside_a_word_brings_no_space():
    tokenizer = WordPieceTokenizer([*SPECIALS, "sing", "##ing", "song"])
    writer = make(tokenizer=tokenizer)
    source = writer.encode(["song sing"])
    assert source.tolist() == [[6, 4]]
    assert writer._texts(source, np.array([[[5, 6, 2], [6, 5, 2]]], "int32")) == [
        ["ing song", " songing"]
    ]


def test_of_long_prompts_the_last_tokens_are_read_with_a_warning_that_counts(writer):
    long = "abcc" * 9
    with pytest.warns(UserWarning, match="2 of 3 prompts have more than 20 tokens and lost"):
        answers = writer([long, "a", long + "a"])
    assert answers == writer([long[-20:], "a", (long + "a")[-20:]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        writer(long[-20:])


def test_a_learned_table_has_room_for_the_longest_prompt_and_answer():
    assert make(positions="learned", max_length=26).max_source_length == 20
    with pytest.raises(ValueError, match="max_length=25 .*Received: 26 for a prompt of 20 tokens"):
        make(positions="learned", max_length=25)
    writer = make(positions="learned", max_length=26)
    writer.strategy = GreedySearch(max_new_tokens=19)
    with pytest.raises(ValueError, match="Received: 27 for a prompt of 8 tokens"):
        writer("abc")


def test_attention_names_rows_and_columns(writer):
    found = writer.attention("cab")
    assert found.source == [*"cab"]
    assert found.weights.shape == (len(found.target), 3)
    assert (found.weights > 0).all() and (found.weights.sum(-1) < 1).all()
    assert writer.attention("").weights.shape[1] == 0


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(
    "strategy", [GreedySearch(max_new_tokens=9), Sampling(seed=3, max_new_tokens=9)]
)
def test_a_stream_in_pieces_is_the_whole(strategy, every):
    tokenizer = SentencePieceTokenizer.train(LINES, 45, model_type="bpe")
    writer = make(strategy, tokenizer)
    for prompt in ["der hund", ""]:
        pieces = []
        text = writer.stream(prompt, pieces.append, every)
        assert text == "".join(pieces) == writer(prompt)
        assert all(pieces) and len(pieces) > 1


def bytes_only():
    """A SentencePiece model that knows "a" and spells all else in bytes."""
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(["a a"]), model_writer=model, model_type="bpe", vocab_size=262,
        byte_fallback=True, pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]",
        bos_piece="[START]", eos_piece="[END]", unk_piece="[UNK]", minloglevel=2,
        hard_vocab_limit=False, normalization_rule_name="identity",
    )  # fmt: skip
    return SentencePieceTokenizer(model.getvalue())


def test_characters_come_whole():
    """Of several bytes, of which each is a token; also where the text ends inside one."""
    tokenizer = bytes_only()
    writer = make(tokenizer=tokenizer)
    (ids,) = tokenizer.tokenize(["aä€🙂a"]).to_list()
    assert len(ids) > 10
    for last in (len(ids), len(ids) - 3):
        steps = [np.array([[[id]]], "int32") for id in [*ids[:last], 2]]
        writer.model.stream = lambda *_, steps=steps: iter(steps)
        pieces = []
        text = writer.stream("", pieces.append)
        assert text == "".join(pieces)
        assert text.startswith("aä€")
        assert [piece for piece in pieces if "\ufffd" not in piece] == [*text.rstrip("\ufffd")]
        assert ("\ufffd" in text) == (last < len(ids))


def test_a_beam_does_not_stream():
    with pytest.raises(ValueError, match=r"strategy: expected Greedy or Sample .*Received: Beam\("):
        make(BeamSearch(2, max_new_tokens=5)).stream("abc", print)


def test_save_and_load(writer, tmp_path):
    writer.save(tmp_path / "task")
    assert sorted(path.name for path in (tmp_path / "task").iterdir()) == [
        "model.keras", "source", "task.json"
    ]  # fmt: skip
    loaded = TextGenerator.load(tmp_path / "task")
    assert loaded.generate(PROMPTS) == writer.generate(PROMPTS)
    assert repr(loaded.strategy) == repr(writer.strategy)
    assert loaded.max_source_length == 20
    other = TextGenerator.load(
        tmp_path / "task", BeamSearch(2, num_return_sequences=2, max_new_tokens=4)
    )
    assert [len(answers) for answers in other.generate(["a"])] == [2]


def test_what_no_writer_is_made_of():
    with pytest.raises(ValueError, match="^tokenizer: expected the model's 9 tokens. Received: 6"):
        TextGenerator(make().model, CharacterTokenizer.train(["ab"]))
    with pytest.raises(ValueError, match="max_prompt_length: .*Received: max_prompt_length=0"):
        make(limit=0)
