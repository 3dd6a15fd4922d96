"""Import of Marian models: ids, logits and translations equal those of transformers."""

import json
import shutil
import sys
import types

import keras
import numpy as np
import pytest

from helpers import array, cases, few_on_jax
from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.interop import marian
from keras_attention.interop.marian import read_marian

pytestmark = pytest.mark.slow_on_tensorflow

VARIANTS = {
    "opus": {},
    "separate vocabularies, relu, a suppressed token, no renormalization": {
        "separate": True,
        "activation_function": "relu",
        "scale_embedding": False,
        "generation": {"bad_words_ids": [["pad"], [5], [0]], "renormalize_logits": False},
    },
    "gelu, separate output weights, another start token, no forced end": {
        "activation_function": "gelu",
        "tie_word_embeddings": False,
        "decoder_start_token_id": 4,
        "forced_eos_token_id": None,
        "generation": {
            "forced_eos_token_id": None,
            "decoder_start_token_id": 4,
            "early_stopping": True,
            "length_penalty": 0.5,
            "max_length": 16,
        },
    },
}


@pytest.fixture(scope="module", params=few_on_jax(1, list(VARIANTS)))
def both(request, marian_maker, opus, tmp_path_factory):
    """The model and tokenizer of transformers, and the imported ones."""
    options = VARIANTS[request.param]
    checkpoint = opus
    if options:
        checkpoint = marian_maker(tmp_path_factory.mktemp("marian") / "variant", **options)
    return checkpoint, read_marian(checkpoint.folder)


def their_ids(folder, vocabulary, start):
    """Returns the id in the files of each of our ids."""
    path = folder / "target_vocab.json"
    ids = json.loads((path if path.is_file() else folder / "vocab.json").read_text())
    special = [ids["<pad>"], ids["<pad>"] if start is None else start, 0, 1]
    return np.array([*special, *(ids[token] for token in vocabulary[4:])])


def encode(tokenizer, texts):
    """Returns a batch of ids as NumPy, with END and padding."""
    return tokenizer.encode(texts).numpy()


def test_ids_equal_those_of_transformers(both):
    theirs, ours = both
    special = {"<pad>": "[PAD]", "</s>": "[END]", "<unk>": "[UNK]"}
    for tokenizer, arguments in (
        (ours.source_tokenizer, {"text": theirs.texts}),
        (ours.target_tokenizer, {"text_target": [*theirs.texts, "Das Pferd hört naïve Vögel."]}),
    ):
        batch = theirs.tokenizer(**arguments, padding=True)["input_ids"]
        (texts,) = arguments.values()
        if "text_target" in arguments:
            theirs.tokenizer._switch_to_target_mode()
            names = {id: token for token, id in theirs.tokenizer.current_encoder.items()}
            theirs.tokenizer._switch_to_input_mode()
        else:
            names = {id: token for token, id in theirs.tokenizer.encoder.items()}
        expected = [[special.get(names[id], names[id]) for id in row] for row in batch]
        assert [tokenizer.tokens(row) for row in encode(tokenizer, texts)] == expected
        assert len({name for row in expected for name in row}) > 12


def test_logits_equal_those_of_transformers(both):
    import torch

    theirs, ours = both
    config = theirs.model.config
    targets = [target for _, target in theirs.pairs[: len(theirs.texts)]]
    batch = theirs.tokenizer(theirs.texts, text_target=targets, return_tensors="pt", padding=True)
    batch["labels"][batch["labels"] == config.pad_token_id] = -100
    with torch.no_grad():
        expected = theirs.model(**batch).logits.numpy()
    labels = encode(ours.target_tokenizer, targets)
    target = np.concatenate([np.full((len(labels), 1), 1), labels[:, :-1]], 1)
    target[target == 2] = 0  # END and all after it is padding in both
    source = encode(ours.source_tokenizer, theirs.texts)
    logits = array(ours.model({"source": source, "target": target}))
    start = config.decoder_start_token_id
    their = their_ids(theirs.folder, ours.target_tokenizer.vocabulary, start)
    mask = labels != 0
    assert np.abs(expected[mask]).max() > 2
    tokens = slice(2, None)  # PAD and START are never generated
    np.testing.assert_allclose(
        logits[mask][:, tokens], expected[..., their][mask][:, tokens], atol=1e-4
    )
    assert (logits[..., 1] < logits.max(-1) - 50).all()


@pytest.mark.slow_on_tensorflow(cases=2)
@pytest.mark.parametrize("beams", [1, 4])
def test_translations_equal_those_of_transformers(both, beams):
    theirs, ours = both
    batch = theirs.tokenizer(theirs.texts, return_tensors="pt", padding=True)
    expected = theirs.model.generate(
        **batch, num_beams=beams, output_scores=True, return_dict_in_generate=True
    )
    strategy = ours.strategy
    assert isinstance(strategy, BeamSearch) and strategy.num_beams == 4
    if beams == 1:
        options = strategy.get_config()
        names = "max_new_tokens", "suppress_tokens", "force_end"
        strategy = GreedySearch(**{name: options[name] for name in names})
    output = ours.model.generate(encode(ours.source_tokenizer, theirs.texts), strategy)
    start = theirs.model.config.decoder_start_token_id
    their = their_ids(theirs.folder, ours.target_tokenizer.vocabulary, start)
    written = expected.sequences[:, 1:].numpy()
    length = written.shape[1]
    np.testing.assert_array_equal(their[output.ids[:, 0, :length]], written)
    assert not output.ids[:, 0, length:].any()
    assert len({tuple(row) for row in written}) > 3  # the translations differ
    if beams > 1:
        np.testing.assert_allclose(output.scores[:, 0], expected.sequences_scores, atol=1e-4)
    texts = theirs.tokenizer.batch_decode(expected.sequences[:, 1:], skip_special_tokens=True)
    translations = ours.target_tokenizer.detokenize(output.ids[:, 0]).numpy()
    assert [text.decode("utf-8") for text in translations] == texts


@pytest.mark.slow_on_tensorflow(cases=1)
@pytest.mark.parametrize("early_stopping", cases([False, True, "never"], ["never"]))
@pytest.mark.parametrize("length_penalty", [0.0, 2.0])
def test_all_beams_equal_those_of_transformers(opus, length_penalty, early_stopping):
    ours = read_marian(opus.folder)
    options = {"length_penalty": length_penalty, "early_stopping": early_stopping}
    batch = opus.tokenizer(opus.texts, return_tensors="pt", padding=True)
    expected = opus.model.generate(
        **batch, **options, num_beams=3, num_return_sequences=3, output_scores=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    strategy = ours.strategy.replace(num_beams=3, num_return_sequences=3, **options)
    output = ours.model.generate(encode(ours.source_tokenizer, opus.texts), strategy)
    their = their_ids(opus.folder, ours.target_tokenizer.vocabulary, None)
    written = expected.sequences[:, 1:].numpy()
    ids = output.ids.reshape(-1, output.ids.shape[-1])[:, : written.shape[1]]
    np.testing.assert_array_equal(their[ids], written)
    np.testing.assert_allclose(output.scores.ravel(), expected.sequences_scores, atol=1e-4)


def test_strategy_is_read_from_the_folder(opus, changed):
    folder = changed("generation_config.json", num_beams=1, max_new_tokens=7)
    strategy = read_marian(folder).strategy
    assert strategy.get_config() == GreedySearch(max_new_tokens=7, force_end=True).get_config()
    # Older folders have the options of generation in config.json.
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    config.update(num_beams=6, max_length=50, bad_words_ids=[[3], [config["pad_token_id"]]])
    (folder / "config.json").write_text(json.dumps(config))
    strategy = read_marian(folder).strategy
    search = BeamSearch(
        6, 1.0, length_penalty_type="power", early_stopping=False, refill_beams=True
    )
    expected = search.replace(max_new_tokens=49, suppress_tokens=[5], force_end=True)
    assert repr(strategy) == repr(expected)
    strategy = GreedySearch(max_new_tokens=3)
    assert read_marian(folder, strategy).strategy is strategy


@pytest.fixture
def changed(opus, tmp_path):
    """Copies the folder and changes a JSON file; None removes an entry."""

    def change(name, **entries):
        folder = tmp_path / "changed"
        shutil.copytree(opus.folder, folder, dirs_exist_ok=True)
        content = {**json.loads((folder / name).read_text()), **entries}
        content = {key: value for key, value in content.items() if value is not None}
        (folder / name).write_text(json.dumps(content))
        return folder

    return change


@pytest.mark.parametrize(
    ("name", "entries", "message"),
    [
        ("config.json", {"model_type": "bart"}, "must be 'marian'. Received: model_type='bart'"),
        ("config.json", {"d_model": None}, "config.json must contain `d_model`"),
        ("config.json", {"d_model": 28}, r"`model.shared.weight` must have the shape \(45, 28\)"),
        ("config.json", {"decoder_layers": 4}, "model.decoder.layers.3.fc1.weight"),
        ("config.json", {"encoder_ffn_dim": 7}, r"1.fc1.weight` must have the shape \(7, 24\)"),
        ("config.json", {"vocab_size": 40}, "vocab.json must contain each id between 0 and 39"),
        ("config.json", {"pad_token_id": 0}, r"vocab.json must .* padding.* \[0, 44, 0, "),
        ("config.json", {"activation_function": "tanh"}, "Received: activation_function='tanh'"),
        ("vocab.json", {"<unk>": None, "x": 1}, r"'<unk>'. Received: \[44, 44, 0, None\]"),
        ("generation_config.json", {"bad_words_ids": [[3, 4]]}, r"bad_words_ids=\[\[3, 4\]\]"),
        (
            "generation_config.json",
            {"no_repeat_ngram_size": 2},
            "`no_repeat_ngram_size` .* not supported",
        ),
    ],
)
def test_files_that_do_not_match_raise(changed, name, entries, message):
    with pytest.raises(ValueError, match=message):
        read_marian(changed(name, **entries))


@pytest.mark.parametrize(
    "name", ["config.json", "vocab.json", "source.spm", "target.spm", "model.safetensors"]
)
def test_missing_files_raise(changed, name):
    folder = changed("config.json")
    (folder / name).unlink()
    with pytest.raises(ValueError, match=name):
        read_marian(folder)


def test_damaged_weights_raise(changed):
    folder = changed("config.json")
    for content, message in (
        (b"no weights", "header of 7523097587056930670 bytes"),
        ((2).to_bytes(8, "little") + b"no weights", "must be in the safetensors format"),
    ):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_marian(folder)


@pytest.mark.parametrize("new_format", [True, False])
def test_pytorch_model_bin_is_read_without_torch(opus, changed, monkeypatch, new_format):
    import torch

    folder = changed("config.json")
    (folder / "model.safetensors").unlink()
    torch.save(
        opus.model.state_dict(),
        folder / "pytorch_model.bin",
        _use_new_zipfile_serialization=new_format,  # most OPUS-MT models have the old one
    )
    expected = read_marian(opus.folder).model
    for name in [name for name in sys.modules if name.split(".")[0] == "torch"]:
        if keras.backend.backend() != "torch":
            monkeypatch.setitem(sys.modules, name, None)
    for a, b in zip(read_marian(folder).model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(array(a), array(b))


def test_named_models_are_downloaded(opus, changed, monkeypatch):
    requests = []
    folder = opus.folder

    def snapshot_download(name, revision, allow_patterns):
        requests.append((name, revision, allow_patterns))
        return str(folder)

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    name = "Helsinki-NLP/opus-mt-en-de"
    assert read_marian(name, revision="1a2b3c4").model.count_params() > 10_000
    assert requests == [(name, "1a2b3c4", list(marian.FILES))]
    folder = changed("config.json")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="must contain model.safetensors or pytorch_model.bin"):
        read_marian(name)
    assert requests[2:] == [(name, None, ["pytorch_model.bin"])]
    with pytest.raises(ValueError, match="`revision` requires the name of a model"):
        read_marian(folder, revision="1a2b3c4")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="requires the extra `hub`"):
        read_marian("Helsinki-NLP/opus-mt-en-de")
    for invalid in ("/no/such/folder", "no-such-folder", "./a/b"):
        with pytest.raises(ValueError, match=f"must be a folder or a name.*Received: '{invalid}'"):
            read_marian(invalid)


def test_half_precision_weights_are_converted_to_float32(opus, changed):
    from safetensors.numpy import load_file, save_file

    folder = changed("config.json")
    half = {
        name: array.astype("float16")
        for name, array in load_file(folder / "model.safetensors").items()
    }
    save_file(half, folder / "model.safetensors")
    full, read = (read_marian(each).model for each in (opus.folder, folder))
    for a, b in zip(full.weights, read.weights, strict=True):
        assert b.dtype == "float32"
        np.testing.assert_allclose(array(a), array(b), rtol=1e-3, atol=1e-6)


def test_model_is_saved_and_loaded(both, tmp_path):
    model = both[1].model
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = {"source": np.array([[5, 6, 2]]), "target": np.array([[1, 7, 8]])}
    np.testing.assert_allclose(array(loaded(inputs)), array(model(inputs)), atol=1e-6)


@pytest.mark.parametrize(
    "name, value",
    [
        ("vocab_size", 10**9),
        ("vocab_size", 2.5),
        ("d_model", 10**7),
        ("encoder_layers", 10**9),
        ("decoder_layers", "3"),
        ("decoder_ffn_dim", 10**9),
        ("encoder_attention_heads", 0),
        ("max_position_embeddings", 10**9),
        ("dropout", "high"),
        ("pad_token_id", [0]),
        ("activation_function", {}),
    ],
)
def test_damaged_configurations_are_value_errors_that_name_the_folder(name, value, changed):
    folder = changed("config.json", **{name: value})
    with pytest.raises(ValueError, match=f"Received: .*{folder.name}"):
        read_marian(folder)


@pytest.mark.parametrize(
    "options",
    [
        {"max_length": 10**9},
        {"num_beams": 10**6},
        {"num_beams": "4"},
        {"length_penalty": [1]},
        {"bad_words_ids": [[[0]]]},
    ],
)
def test_generation_options_of_a_file_are_limited(options, changed):
    folder = changed("generation_config.json", **options)
    with pytest.raises(ValueError, match=f"Received: .*{folder.name}"):
        read_marian(folder)


@pytest.mark.parametrize("values, message", [("int8", "floating point type"), (np.nan, "finite")])
def test_weights_that_are_no_finite_floats_are_refused(values, message, changed):
    from safetensors.numpy import load_file, save_file

    folder = changed("config.json")
    weights = load_file(folder / "model.safetensors")
    name = "model.encoder.layers.0.fc1.bias"
    if values == "int8":
        weights[name] = weights[name].astype("int8")
    else:
        weights[name][3] = values
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError, match=f"`{name}` must (be of|have) {message}"):
        read_marian(folder)


def test_header_of_safetensors_is_checked_before_it_is_read(changed):
    folder = changed("config.json")
    path = folder / "model.safetensors"
    path.write_bytes((10**12).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(ValueError, match=f"header of {10**12} bytes"):
        read_marian(folder)
