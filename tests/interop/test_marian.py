"""Marian folders: with transformers' files ours gives transformers' ids, logits and answers."""

import json
import shutil
import sys
import types

import keras
import numpy as np
import pytest

from helpers import array
from keras_attention.generation import BeamSearch, GreedySearch
from keras_attention.interop import marian
from keras_attention.interop.marian import read_marian

VARIANTS = {
    "opus": {},
    "separate vocabularies, relu, a forbidden token, no renormalizing": {
        "separate": True,
        "activation_function": "relu",
        "scale_embedding": False,
        "generation": {"bad_words_ids": [["pad"], [5], [0]], "renormalize_logits": False},
    },
    "gelu, output of its own, begins with another token, ends nowhere by force": {
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


@pytest.fixture(scope="module", params=VARIANTS)
def both(request, marian_maker, opus, tmp_path_factory):
    """transformers' model and tokenizer, and ours."""
    options = VARIANTS[request.param]
    checkpoint = opus
    if options:
        checkpoint = marian_maker(tmp_path_factory.mktemp("marian") / "variant", **options)
    return checkpoint, read_marian(checkpoint.folder)


def their_ids(folder, vocabulary, start):
    """Their id of each of ours, by name."""
    path = folder / "target_vocab.json"
    ids = json.loads((path if path.is_file() else folder / "vocab.json").read_text())
    special = [ids["<pad>"], ids["<pad>"] if start is None else start, 0, 1]
    return np.array([*special, *(ids[token] for token in vocabulary[4:])])


def encode(tokenizer, texts):
    """A batch of ids as NumPy, with END and padding."""
    return tokenizer.encode(texts).numpy()


def test_ids_are_those_of_transformers(both):
    theirs, ours = both
    special = {"<pad>": "[PAD]", "</s>": "[END]", "<unk>": "[UNK]"}
    for tokenizer, given in (
        (ours.source_tokenizer, {"text": theirs.texts}),
        (ours.target_tokenizer, {"text_target": [*theirs.texts, "Das Pferd hört naïve Vögel."]}),
    ):
        batch = theirs.tokenizer(**given, padding=True)["input_ids"]
        (texts,) = given.values()
        if "text_target" in given:
            theirs.tokenizer._switch_to_target_mode()
            names = {id: token for token, id in theirs.tokenizer.current_encoder.items()}
            theirs.tokenizer._switch_to_input_mode()
        else:
            names = {id: token for token, id in theirs.tokenizer.encoder.items()}
        expected = [[special.get(names[id], names[id]) for id in row] for row in batch]
        assert [tokenizer.tokens(row) for row in encode(tokenizer, texts)] == expected
        assert len({name for row in expected for name in row}) > 12


def test_logits_are_those_of_transformers(both):
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
    target[target == 2] = 0  # what stands behind END is padding, for ours and for theirs
    source = encode(ours.source_tokenizer, theirs.texts)
    logits = array(ours.model({"source": source, "target": target}))
    start = config.decoder_start_token_id
    their = their_ids(theirs.folder, ours.target_tokenizer.vocabulary, start)
    kept = labels != 0
    assert np.abs(expected[kept]).max() > 2
    writable = slice(2, None)  # PAD and START are never written
    np.testing.assert_allclose(
        logits[kept][:, writable], expected[..., their][kept][:, writable], atol=1e-4
    )
    assert (logits[..., 1] < logits.max(-1) - 50).all()


@pytest.mark.parametrize("beams", [1, 4])
def test_answers_are_those_of_transformers(both, beams):
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
    found = ours.model.generate(encode(ours.source_tokenizer, theirs.texts), strategy)
    start = theirs.model.config.decoder_start_token_id
    their = their_ids(theirs.folder, ours.target_tokenizer.vocabulary, start)
    written = expected.sequences[:, 1:].numpy()
    length = written.shape[1]
    np.testing.assert_array_equal(their[found.ids[:, 0, :length]], written)
    assert not found.ids[:, 0, length:].any()
    assert len({tuple(row) for row in written}) > 3  # answers differ from text to text
    if beams > 1:
        np.testing.assert_allclose(found.scores[:, 0], expected.sequences_scores, atol=1e-4)
    texts = theirs.tokenizer.batch_decode(expected.sequences[:, 1:], skip_special_tokens=True)
    got = ours.target_tokenizer.detokenize(found.ids[:, 0]).numpy()
    assert [text.decode("utf-8") for text in got] == texts


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("options", [{"length_penalty": 0.0}, {"length_penalty": 2.0}])
def test_all_beams_are_those_of_transformers(opus, early_stopping, options):
    ours = read_marian(opus.folder)
    options = {**options, "early_stopping": early_stopping}
    batch = opus.tokenizer(opus.texts, return_tensors="pt", padding=True)
    expected = opus.model.generate(
        **batch, **options, num_beams=3, num_return_sequences=3, output_scores=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    strategy = ours.strategy.replace(num_beams=3, num_return_sequences=3, **options)
    found = ours.model.generate(encode(ours.source_tokenizer, opus.texts), strategy)
    their = their_ids(opus.folder, ours.target_tokenizer.vocabulary, None)
    written = expected.sequences[:, 1:].numpy()
    ids = found.ids.reshape(-1, found.ids.shape[-1])[:, : written.shape[1]]
    np.testing.assert_array_equal(their[ids], written)
    np.testing.assert_allclose(found.scores.ravel(), expected.sequences_scores, atol=1e-4)


def test_what_a_folder_says_becomes_a_strategy(opus, changed):
    folder = changed("generation_config.json", num_beams=1, max_new_tokens=7)
    strategy = read_marian(folder).strategy
    assert strategy.get_config() == GreedySearch(max_new_tokens=7, force_end=True).get_config()
    # Older folders have it all in config.json.
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
    given = GreedySearch(max_new_tokens=3)
    assert read_marian(folder, given).strategy is given


@pytest.fixture
def changed(opus, tmp_path):
    """Copies the folder, one of its JSON files changed; None takes a key out."""

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
        ("config.json", {"model_type": "bart"}, "expected the model_type 'marian'. Received: mod"),
        ("config.json", {"d_model": None}, "config.json: expected d_model"),
        ("config.json", {"d_model": 28}, r"model.shared.weight: expected the shape \(45, 28\)"),
        ("config.json", {"decoder_layers": 4}, "model.decoder.layers.3.self_attn.q_proj.weight"),
        ("config.json", {"encoder_ffn_dim": 7}, r"0.fc1.weight: expected the shape \(7, 24\)"),
        ("config.json", {"vocab_size": 40}, "vocab.json: expected the ids 0 to 39"),
        ("config.json", {"pad_token_id": 0}, r"vocab.json: expected the ids of pad.* \[0, 44, 0, "),
        ("config.json", {"activation_function": "tanh"}, "Received: activation_function='tanh'"),
        ("vocab.json", {"<unk>": None, "x": 1}, r"'<unk>'. Received: \[44, 44, 0, None\]"),
        ("generation_config.json", {"bad_words_ids": [[3, 4]]}, r"bad_words_ids=\[\[3, 4\]\]"),
        ("generation_config.json", {"no_repeat_ngram_size": 2}, "expected no no_repeat_ngram_size"),
    ],
)
def test_files_that_do_not_fit(changed, name, entries, message):
    with pytest.raises(ValueError, match=message):
        read_marian(changed(name, **entries))


@pytest.mark.parametrize(
    "name", ["config.json", "vocab.json", "source.spm", "target.spm", "model.safetensors"]
)
def test_a_missing_file_is_named(changed, name):
    folder = changed("config.json")
    (folder / name).unlink()
    with pytest.raises(ValueError, match=name):
        read_marian(folder)


def test_damaged_weights(changed):
    folder = changed("config.json")
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="Expected a file of safetensors"):
        read_marian(folder)


@pytest.mark.parametrize("today", [True, False])
def test_the_older_pytorch_model_bin_is_read_without_torch(opus, changed, monkeypatch, today):
    import torch

    folder = changed("config.json")
    (folder / "model.safetensors").unlink()
    torch.save(
        opus.model.state_dict(),
        folder / "pytorch_model.bin",
        _use_new_zipfile_serialization=today,  # False: as in 2020, when OPUS-MT's were written
    )
    expected = read_marian(opus.folder).model
    for name in [name for name in sys.modules if name.split(".")[0] == "torch"]:
        if keras.backend.backend() != "torch":
            monkeypatch.setitem(sys.modules, name, None)
    for a, b in zip(read_marian(folder).model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(array(a), array(b))


def test_a_name_is_downloaded(opus, changed, monkeypatch):
    asked = []
    folder = opus.folder

    def snapshot_download(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(folder)

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert read_marian("Helsinki-NLP/opus-mt-en-de").model.count_params() > 10_000
    assert asked == [("Helsinki-NLP/opus-mt-en-de", list(marian.FILES))]
    folder = changed("config.json")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="Expected model.safetensors or pytorch_model.bin"):
        read_marian("Helsinki-NLP/opus-mt-en-de")
    assert asked[2:] == [("Helsinki-NLP/opus-mt-en-de", ["pytorch_model.bin"])]
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="requires the extra `hub`"):
        read_marian("Helsinki-NLP/opus-mt-en-de")
    for wrong in ("/no/such/folder", "no-such-folder", "./a/b"):
        with pytest.raises(ValueError, match=f"expected a folder, or a name.*Received: '{wrong}'"):
            read_marian(wrong)


def test_half_precision_weights_are_read_as_float32(opus, changed):
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


def test_a_model_is_saved_and_read_again(both, tmp_path):
    model = both[1].model
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    given = {"source": np.array([[5, 6, 2]]), "target": np.array([[1, 7, 8]])}
    np.testing.assert_allclose(array(again(given)), array(model(given)), atol=1e-6)
