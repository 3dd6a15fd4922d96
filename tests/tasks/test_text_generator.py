"""TextGenerator: prompts to continuations, streaming, saving and loading."""

import warnings

import numpy as np
import pytest

from helpers import model_inputs, train_sentencepiece
from keras_attention.generation import BeamSearch, GreedySearch, Sampling
from keras_attention.models import causal_lm
from keras_attention.ops.ids import SPECIALS
from keras_attention.tasks import TextGenerator
from keras_attention.text import CharacterTokenizer, SentencePieceTokenizer, WordPieceTokenizer
from keras_attention.types import Batch

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


def sentences(seed=0):
    """Random sentences from the words of LINES."""
    rng = np.random.default_rng(seed)
    vocabulary = sorted(set(" ".join(LINES).split()))
    return [" ".join(rng.choice(vocabulary, n)) for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def generator():
    return make()


@pytest.mark.slow
def test_prompts_have_no_end(generator):
    tokenizer = generator.tokenizer
    ids = tokenizer.tokenize(["cab"]).to_tensor().numpy()
    np.testing.assert_array_equal(model_inputs(generator, ["cab"]), ids)
    outputs = generator.model.generate(ids, generator.strategy)
    text = tokenizer.detokenize(outputs.ids[:, 0]).numpy()[0].decode()
    assert text and generator("cab") == text
    ((result,),) = generator.generate(["cab"])
    assert result.text == text
    np.testing.assert_allclose(result.score, outputs.scores[0, 0], rtol=1e-5)


def test_a_string_or_a_list(generator):
    results = generator(PROMPTS)
    assert len(set(results)) > 1
    assert [generator(prompt) for prompt in PROMPTS] == results
    assert generator([]) == []
    assert model_inputs(generator, [""]).tolist() == [[0]]


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize(
    "kind, options",
    [
        (CharacterTokenizer, {}),
        (SentencePieceTokenizer, {"vocabulary_size": 45, "model_type": "bpe"}),
        (WordPieceTokenizer, {"vocabulary_size": 70}),
    ],
)
def test_prompt_and_continuation_join_to_the_text_of_all_tokens(kind, options):
    """Each space of the whole text appears once."""
    tokenizer = kind.train(LINES, **options)
    # A high temperature produces all kinds of tokens.
    generator = make(
        Sampling(temperature=30.0, num_return_sequences=8, max_new_tokens=8), tokenizer
    )
    spaces = 0
    for prompt in ["", *sentences()]:
        (row,) = tokenizer.tokenize([prompt]).to_list()
        ids = generator.model.generate(model_inputs(generator, [prompt]), generator.strategy).ids[0]
        whole = tokenizer.detokenize([[*row, *written] for written in ids]).numpy()
        (results,) = generator.generate([prompt])
        assert [prompt + result.text for result in results] == [text.decode() for text in whole]
        spaces += sum(result.text.startswith(" ") for result in results)
    assert spaces > 0


def test_a_piece_inside_a_word_has_no_space():
    tokenizer = WordPieceTokenizer([*SPECIALS, "sing", "##ing", "song"])
    generator = make(tokenizer=tokenizer)
    source = model_inputs(generator, ["song sing"])
    assert source.tolist() == [[6, 4]]
    assert generator.postprocessor.texts(
        np.array([[[5, 6, 2], [6, 5, 2]]], "int32"), Batch(source)
    ) == [["ing song", " songing"]]


def test_long_prompts_lose_their_first_tokens_with_a_warning(generator):
    long = "abcc" * 9
    with pytest.warns(UserWarning, match="2 of 3 prompts have more than 20 tokens and lost"):
        results = generator([long, "a", long + "a"])
    assert results == generator([long[-20:], "a", (long + "a")[-20:]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator(long[-20:])


def test_learned_positions_must_suffice_for_prompt_and_continuation():
    assert make(positions="learned", max_length=26).max_prompt_length == 20
    with pytest.raises(ValueError, match="max_length=25 .*Received: 26 for a prompt of 20 tokens"):
        make(positions="learned", max_length=25)
    generator = make(positions="learned", max_length=26)
    generator.strategy = GreedySearch(max_new_tokens=19)
    with pytest.raises(ValueError, match="Received: 27 for a prompt of 8 tokens"):
        generator("abc")


def test_attention_has_prompt_and_generated_tokens():
    generator = make(seed=1)  # a seed without saturated weights
    alignment = generator.attention("cab")
    assert alignment.source == [*"cab"]
    assert alignment.weights.shape == (len(alignment.target), 3)
    assert (alignment.weights > 0).all() and (alignment.weights.sum(-1) < 1).all()
    assert generator.attention("").weights.shape[1] == 0


@pytest.mark.slow_on_tensorflow(quick_cases=1)
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(
    "strategy", [GreedySearch(max_new_tokens=9), Sampling(seed=3, max_new_tokens=9)]
)
def test_streamed_pieces_join_to_the_whole(strategy, every):
    tokenizer = SentencePieceTokenizer.train(LINES, 45, model_type="bpe")
    generator = make(strategy, tokenizer)
    for prompt in ["der hund", ""]:
        pieces = []
        text = generator.stream(prompt, pieces.append, every)
        assert text == "".join(pieces) == generator(prompt)
        assert all(pieces) and len(pieces) > 1


def byte_tokenizer():
    """Returns a tokenizer that knows "a" and encodes other characters as bytes."""
    proto = train_sentencepiece(
        ["a a"], 262, model_type="bpe", byte_fallback=True, pad_id=0, bos_id=1, eos_id=2, unk_id=3,
        pad_piece="[PAD]", bos_piece="[START]", eos_piece="[END]", unk_piece="[UNK]",
        normalization_rule_name="identity",
    )  # fmt: skip
    return SentencePieceTokenizer(proto)


def test_streamed_characters_are_complete():
    """A character can have several bytes, each a token, and a text can end inside one."""
    tokenizer = byte_tokenizer()
    generator = make(tokenizer=tokenizer)
    (ids,) = tokenizer.tokenize(["aä€🙂a"]).to_list()
    assert len(ids) > 10
    for last in (len(ids), len(ids) - 3):
        steps = [np.array([[[id]]], "int32") for id in [*ids[:last], 2]]
        generator.model.stream = lambda *_, steps=steps: iter(steps)
        pieces = []
        text = generator.stream("", pieces.append)
        assert text == "".join(pieces)
        assert text.startswith("aä€")
        assert [piece for piece in pieces if "\ufffd" not in piece] == [*text.rstrip("\ufffd")]
        assert ("\ufffd" in text) == (last < len(ids))


def test_beam_search_does_not_stream():
    with pytest.raises(ValueError, match=r"GreedySearch.* or .*Sampling.*Received: .*BeamSearch\("):
        make(BeamSearch(2, max_new_tokens=5)).stream("abc", print)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_save_and_load(generator, tmp_path):
    generator.save(tmp_path / "task")
    assert sorted(path.name for path in (tmp_path / "task").iterdir()) == [
        "model.keras", "source", "task.json"
    ]  # fmt: skip
    loaded = TextGenerator.load(tmp_path / "task")
    assert loaded.generate(PROMPTS) == generator.generate(PROMPTS)
    assert repr(loaded.strategy) == repr(generator.strategy)
    assert loaded.max_prompt_length == 20
    other = TextGenerator.load(
        tmp_path / "task", BeamSearch(2, num_return_sequences=2, max_new_tokens=4)
    )
    assert [len(results) for results in other.generate(["a"])] == [2]


def test_invalid_arguments_raise():
    with pytest.raises(
        ValueError, match="^`tokenizer` must have the model's 9 tokens. Received: 6"
    ):
        TextGenerator(make().model, CharacterTokenizer.train(["ab"]))
    with pytest.raises(ValueError, match="`max_prompt_length` .*Received: max_prompt_length=0"):
        make(limit=0)
