"""Exports of language models: files, graph, tokenizer, and the texts in each runtime."""

import json

import numpy as np
import onnx
import pytest
import tokenizers

from helpers import model_inputs
from keras_attention.decoders import CausalLMDecoder
from keras_attention.export import ExportError, verify
from keras_attention.export.transformers_js import writer
from keras_attention.export.transformers_js.language_model_graph import convert_language_model
from keras_attention.export.transformers_js.tokenizer_json import prompt_tokenizer
from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.layers import DecoderBlock, TokenEmbedding
from keras_attention.models import CausalLM, causal_lm
from keras_attention.ops.ids import END, START
from keras_attention.tasks import TextGenerator, load_exported
from keras_attention.text import CharacterTokenizer, SentencePieceTokenizer, WordPieceTokenizer
from keras_attention.utils.manifest import read_manifest
from small_transformers import small_model
from transformers_js import generate, in_node

pytestmark = pytest.mark.tensorflow_only
LINES = ["the dog sees a cat", "a horse hears the dog!", "ein großer Vogel schläft", "漢字 die"]
TEXTS = ["a", "bcade abba", "d", "", "deed abba c", "x", "ä", "a  b ", "漢字a", "e" * 30]
CONFIGURATIONS = {
    "learned": {"positions": "learned", "max_length": 40},
    "sinusoidal": {"positions": "sinusoidal"},
    "relative": {"positions": "relative"},
    "alibi, window": {"positions": "alibi", "window": 3},
    "rotary, RMS, SwiGLU": {"norm_kind": "rms", "activation": "swiglu", "qk_norm": True},
}


def test_folder_and_report(written_generator):
    folder, report = written_generator
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "config.json",
        "export.json",
        "generation_config.json",
        "onnx/model.onnx",
        "samples.json",
        "source/sentencepiece.model",
        "source/tokenizer.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "verification.json",
    }
    contents = read_manifest(folder / "verification.json")
    assert contents == {name: value for name, value in report.items() if name != "path"}
    agreement = report["agreement"]
    # each sample alone and in a batch, with an empty and a long one
    assert agreement["compared"] == agreement["equal"] == 2 * (5 + 2)
    assert agreement["max_score_difference"] < 1e-4
    again = verify(folder)["agreement"]
    assert again["compared"] == again["equal"] == 5 + 2


def test_config(written_generator, generator):
    config = json.loads((written_generator.folder / "config.json").read_text())
    assert config["model_type"] == "llama"
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4}
    assert {**sizes, "num_key_value_heads": 2, "head_dim": 2}.items() < config.items()
    assert config["vocab_size"] == generator.tokenizer.vocabulary_size
    assert "max_position_embeddings" not in config
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    assert ids.items() < config.items()
    generation_config = json.loads(
        (written_generator.folder / "generation_config.json").read_text()
    )
    expected = {**ids, "max_new_tokens": 9, "num_beams": 1, "suppress_tokens": [0, 1]}
    assert generation_config == expected


def test_names_and_shapes():
    decoder = small_model(causal_lm, num_layers=1, num_key_value_heads=1).decoder
    converted = convert_language_model(decoder)
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*converted.graph.input, *converted.graph.output)
    }
    past = ["batch_size", 1, "past_sequence_length", 4]
    present = ["batch_size", 1, "total_sequence_length", 4]
    assert shapes == {
        "input_ids": ["batch_size", "sequence_length"],
        "attention_mask": ["batch_size", "total_sequence_length"],
        "position_ids": ["batch_size", "sequence_length"],
        "past_key_values.0.key": past,
        "past_key_values.0.value": past,
        "logits": ["batch_size", "sequence_length", 12],
        "present.0.key": present,
        "present.0.value": present,
    }
    types = {value.name: value.type.tensor_type.elem_type for value in converted.graph.input}
    assert types["position_ids"] == onnx.TensorProto.INT64


@pytest.mark.slow
@pytest.mark.parametrize("output", ["tied", "separate"])
def test_weights_are_in_the_file_once(output):
    blocks = [DecoderBlock(num_heads=2, intermediate_dim=64, cross_attention=False)]
    model = CausalLM(CausalLMDecoder(TokenEmbedding(300, 32, output=output), blocks))
    converted = convert_language_model(model.decoder)
    sizes = [np.prod(each.dims) for each in converted.graph.initializer]
    num_weights = sum(np.prod(weight.shape) for weight in model.decoder.weights)
    assert num_weights <= sum(sizes) < 1.1 * num_weights


def test_loaded_export(written_generator, generator):
    loaded = load_exported(written_generator.folder)
    assert isinstance(loaded, TextGenerator)
    assert loaded(TEXTS) == generator(TEXTS)
    assert len(set(loaded(TEXTS))) > 3
    assert loaded.predict([]) == []
    expected, received = (
        each.runner(model_inputs(generator, TEXTS)) for each in (generator, loaded)
    )
    np.testing.assert_array_equal(received["ids"], expected["ids"])
    np.testing.assert_allclose(received["scores"], expected["scores"], rtol=1e-4)


@pytest.mark.slow(cases=2)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_configurations(configuration, make_generator, tmp_path):
    """Prompts of different lengths in one batch."""
    strategy = GreedySearch(max_new_tokens=20, force_end=True, suppress_tokens=[5])
    task = make_generator(strategy, **CONFIGURATIONS[configuration])
    report = task.export(tmp_path / "new", "transformers_js", TEXTS)
    agreement = report["agreement"]
    assert agreement["equal"] == agreement["compared"]
    loaded = load_exported(tmp_path / "new")
    assert loaded(TEXTS) == task(TEXTS)
    assert loaded.runner.strategy.suppress_tokens == (0, 1, 5)
    assert loaded.runner.strategy.force_end


@pytest.mark.slow
def test_beam_search_becomes_greedy_search(make_generator, tmp_path):
    task = make_generator(BeamSearch(3, max_new_tokens=5))
    report = task.export(tmp_path / "new", "transformers_js", ["ab"])
    assert report["strategy"].startswith("GreedySearch(max_new_tokens=5")


@pytest.mark.slow
def test_disagreement_leaves_nothing(make_generator, tmp_path, monkeypatch):
    task, other = make_generator(), make_generator(num_layers=2)
    with monkeypatch.context() as patch:
        patch.setattr(
            writer,
            "convert_language_model",
            lambda *args: convert_language_model(other.model.decoder),
        )
        with pytest.raises(ExportError, match="must return what the model returns"):
            task.export(tmp_path / "new", "transformers_js", ["abc"])
    contents = prompt_tokenizer(CharacterTokenizer.train(["bcdea ä"]))
    contents["normalizer"]["normalizers"].append({"type": "Prepend", "prepend": "a"})
    with monkeypatch.context() as patch:
        patch.setattr(writer, "prompt_tokenizer", lambda *args: contents)
        with pytest.raises(ExportError, match="`tokenizer.json` must return .* for 'bc': .*Rec"):
            task.export(tmp_path / "new", "transformers_js", ["bc"])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(
    scope="module",
    params=[
        lambda: CharacterTokenizer.train(LINES, lowercase=True),
        lambda: SentencePieceTokenizer.train(LINES, 70),
        lambda: WordPieceTokenizer.train(LINES * 3, 90, lowercase=True),
    ],
    ids=["characters", "SentencePiece", "WordPiece"],
)
def tokenizer(request):
    return request.param()


def test_ids_and_texts(tokenizer):
    fast = tokenizers.Tokenizer.from_str(json.dumps(prompt_tokenizer(tokenizer)))
    assert fast.get_vocab_size() == tokenizer.vocabulary_size
    texts = [*LINES, "", " ", "  The  dog\t", "e\u0301 DOG, 漢字 ß", "xyz"]
    for text, ids in zip(texts, tokenizer.tokenize_to_lists(texts), strict=True):
        assert fast.encode(text).ids == [START, *ids]
        (expected,) = tokenizer.detokenize_to_texts(np.array([ids or [0]]))
        assert fast.decode([START, *ids]) == expected
        assert fast.decode([0, START, *ids, END, END]) == expected


@pytest.mark.slow
def test_it_is_the_tokenizer_of_transformers(written_generator, generator):
    transformers = pytest.importorskip("transformers", reason="transformers reads the folder")
    tokenizer = transformers.AutoTokenizer.from_pretrained(written_generator.folder)
    batch = tokenizer(["abba", ""], padding=True)
    (ids,) = generator.tokenizer.tokenize_to_lists(["abba"])
    assert batch["input_ids"] == [[START, *ids], [0, 0, 0, 0, START]]
    assert batch["attention_mask"] == [[1, 1, 1, 1, 1], [0, 0, 0, 0, 1]]


@pytest.mark.slow
@in_node
def test_transformers_js(written_generator, generator):
    rng = np.random.default_rng(0)
    prompts = ["".join(rng.choice([*"abcdeä 漢x"], rng.integers(10))) for _ in range(20)]
    expected = generator(prompts)
    assert generate(written_generator.folder, prompts) == expected
    assert len(set(expected)) > 5


@pytest.mark.slow
@in_node
def test_transformers_js_with_other_tokenizers(tokenizer, make_generator, tmp_path):
    strategy = GreedySearch(max_new_tokens=7, force_end=True)
    task = make_generator(strategy, tokenizer, **CONFIGURATIONS["learned"])
    prompts = [*LINES, "", "The dog", "a  horse, 漢字", "die große Katze", "xyz"]
    prompts = [
        prompt for prompt in prompts if len(task.tokenizer.tokenize_to_lists([prompt])[0]) <= 10
    ]
    task.export(tmp_path / "new", "transformers_js", prompts)
    assert generate(tmp_path / "new", prompts) == task(prompts)
