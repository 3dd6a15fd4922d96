"""Weights of exported models: generated ids and log-probabilities are those of Keras in float64."""

import keras
import numpy as np
import pytest

from helpers import float64
from keras_attention.decoders import CausalLMDecoder
from keras_attention.export.ctranslate2.runner import CTranslate2Runner
from keras_attention.generation import GreedySearch
from keras_attention.layers import DecoderBlock, RotaryEmbedding, TokenEmbedding, make_blocks
from keras_attention.models import CausalLM, causal_lm, transformer
from keras_attention.ops.ids import END, PAD, START
from small_transformers import VOCABULARY, fill, small_model, write

pytestmark = pytest.mark.tensorflow_only
TRANSLATORS = {
    "pre-LN, sinusoids, relu": {},
    "post-LN, learned positions, gelu": {
        "norm": "post", "activation": "gelu", "positions": "learned", "max_length": 64,
    },
    "RMSNorm, Marian's sinusoids, SwiGLU, no biases, shared embedding": {
        "norm_kind": "rms", "activation": "swiglu", "positions": "marian", "use_bias": False,
        "share_embeddings": True,
    },
    "no positions, gated gelu": {"positions": None, "activation": "geglu"},
    "rotary, grouped heads": {"positions": "rotary", "num_key_value_heads": 1},
    "relative, silu": {"positions": "relative", "activation": "silu"},
}  # fmt: skip
LANGUAGE_MODELS = {
    "rotary, normalized heads": {
        "norm_kind": "rms", "qk_norm": True, "activation": "swiglu", "num_key_value_heads": 1,
    },
    "ALiBi": {"positions": "alibi", "activation": "tanh"},
    "relative": {"positions": "relative", "activation": "glu"},
    "post-LN, learned positions": {"positions": "learned", "max_length": 64, "norm": "post"},
}  # fmt: skip


@pytest.fixture
def float64_policy():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(policy)


def check(model, folder):
    """Compares 40 steps with the log-probabilities of the model, in one pass over them."""
    write(model, GreedySearch(max_new_tokens=40), folder)
    runner = CTranslate2Runner(folder)
    source = np.random.default_rng(1).integers(4, len(VOCABULARY), (3, 7))
    source[:, -1] = END
    source[0, 3:] = [END, PAD, PAD, PAD]
    if isinstance(model, CausalLM):
        source[source == END] = PAD
    ids = runner(source)["ids"][:, 0]  # (B, 40)
    log_probs = teacher_forced(model, source, ids)  # (B, 40, V)
    is_generated = ids != PAD
    allowed = np.where(np.isin(np.arange(len(VOCABULARY)), [PAD, START]), -np.inf, log_probs)
    np.testing.assert_array_equal(ids[is_generated], allowed.argmax(-1)[is_generated])
    assert is_generated.sum() > 40
    expected = np.where(is_generated, np.take_along_axis(log_probs, ids[..., None], 2)[..., 0], 0)
    np.testing.assert_allclose(runner.score(source, ids), expected.sum(1), rtol=2e-6, atol=2e-5)


def teacher_forced(model, source, ids):
    """Returns the log-probabilities of all steps (B, T, V), in float64."""
    inputs = np.concatenate([np.full((len(ids), 1), START), ids[:, :-1]], axis=1)
    if not isinstance(model, CausalLM):
        return float64(keras.ops.log_softmax(model({"source": source, "target": inputs})))
    lengths = (source != PAD).sum(1)
    whole = np.full((len(ids), inputs.shape[1] + source.shape[1]), PAD)
    for row, length in enumerate(lengths):
        whole[row, : length + 1] = [START, *source[row, :length]]
        whole[row, length + 1 : length + inputs.shape[1]] = inputs[row, 1:]
    log_probs = float64(keras.ops.log_softmax(model(whole)))
    return np.stack([x[n : n + inputs.shape[1]] for x, n in zip(log_probs, lengths, strict=True)])


SLOW = ("no positions, gated gelu", "rotary, grouped heads", "relative, silu", "relative", "ALiBi")


def cases(names):
    return [pytest.param(x, marks=[pytest.mark.slow] if x in SLOW else []) for x in names]


@pytest.mark.parametrize("name", cases(TRANSLATORS))
def test_translator(name, float64_policy, tmp_path):
    check(small_model(transformer, **TRANSLATORS[name]), tmp_path)


@pytest.mark.parametrize("name", cases(LANGUAGE_MODELS))
def test_language_model(name, float64_policy, tmp_path):
    check(small_model(causal_lm, **LANGUAGE_MODELS[name]), tmp_path)


@pytest.mark.slow
def test_scaled_rotary_positions(float64_policy, tmp_path):
    for scaling, factor in (("linear", 2.0), ("ntk", 3.0)):
        positions = RotaryEmbedding(base=100.0, scaling=scaling, factor=factor)
        blocks = make_blocks(
            DecoderBlock, 1, num_heads=2, intermediate_dim=8, cross_attention=False,
            positions=positions,
        )  # fmt: skip
        embedding = TokenEmbedding(len(VOCABULARY), 8, output="separate", output_bias=True)
        folder = tmp_path / scaling
        folder.mkdir()
        check(fill(CausalLM(CausalLMDecoder(embedding, blocks))), folder)
