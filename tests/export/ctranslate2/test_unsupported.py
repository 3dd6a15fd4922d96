"""Options that CTranslate2's format lacks are refused, all of them in one error."""

import pytest

from keras_attention.decoders import TransformerDecoder
from keras_attention.export.ctranslate2.unsupported import check_supported
from keras_attention.generation import BeamSearch, GreedySearch, Sampling
from keras_attention.layers import (
    DecoderBlock,
    EncoderBlock,
    TextEncoder,
    TokenEmbedding,
    TransformerEncoder,
)
from keras_attention.models import (
    EncoderDecoder,
    captioner,
    causal_lm,
    classifier,
    seq2seq,
    transformer,
)
from small_transformers import VOCABULARY, small_model

REFUSED = {
    "norm='sandwich'": {"norm": "sandwich"},
    "activation='selu'": {"activation": "selu"},
    "activation='bilinear'": {"activation": "bilinear"},
    "soft_cap=3.0": {"soft_cap": 3.0},
    "window=4": {"window": 4},
    "qk_norm=True with norm_kind='layer'": {"qk_norm": True},
}


def received(model, strategy=None):
    """Returns what the error names, one string for each option."""
    with pytest.raises(ValueError, match="A CTranslate2 export is for Transformers") as error:
        check_supported(model, strategy or GreedySearch(), [VOCABULARY] * 2)
    return str(error.value).split("Received: ")[1].split("; ")


@pytest.mark.parametrize("name", REFUSED)
def test_options_of_blocks(name):
    options = {"num_layers": 1, **REFUSED[name]}
    assert received(small_model(causal_lm, **options)) == [f"decoder: {name}"]


def test_all_are_named_at_once():
    model = small_model(
        transformer, num_layers=1, norm="sandwich", soft_cap=3.0, positions="alibi", qk_norm=True
    )
    assert received(model, BeamSearch(coverage_penalty=0.2, length_ratio=2.0)) == [
        "encoder: norm='sandwich'",
        "encoder: soft_cap=3.0",
        "encoder: qk_norm=True with norm_kind='layer'",
        "encoder: positions=AlibiBias of the blocks",
        "decoder: norm='sandwich'",
        "decoder: soft_cap=3.0",
        "decoder: qk_norm=True with norm_kind='layer'",
        "decoder: qk_norm=True with cross-attention",
        "strategy: length_ratio=2.0",
        "strategy: coverage_penalty=0.2",
    ]


def test_other_models():
    size = len(VOCABULARY)
    assert received(seq2seq(size, size, 8, 8, reverse_source=True)) == [
        "encoder: RecurrentEncoder",
        "encoder: reverse=True",
        "decoder: RNNDecoder",
    ]
    assert received(captioner(size, (16, 24), hidden_dim=8))[0].startswith("encoder: ")
    model = classifier(size, 2, num_layers=1, hidden_dim=8, intermediate_dim=8, num_heads=2)
    with pytest.raises(ValueError, match="of class EncoderOnly; strategy=NoneType"):
        check_supported(model, None, [VOCABULARY])


def test_strategies_and_vocabularies():
    model = small_model(causal_lm, num_layers=1)
    assert received(model, Sampling()) == ["strategy=Sampling"]
    assert received(model, GreedySearch(max_new_tokens=1, force_end=True)) == [
        "strategy: force_end=True with max_new_tokens=1"
    ]
    with pytest.raises(ValueError, match="source vocabulary: 2 repeated tokens"):
        check_supported(model, GreedySearch(), [[*VOCABULARY, "a", "b"]])


def test_stacks_of_different_blocks():
    size = {"num_heads": 2, "intermediate_dim": 8}
    sinusoids = {"embedding_dim": 8, "positions": "sinusoidal"}
    encoder = TextEncoder(
        TokenEmbedding(len(VOCABULARY), **sinusoids),
        TransformerEncoder([EncoderBlock(**size), EncoderBlock(**size, norm="post")]),
    )
    decoder = TransformerDecoder(
        TokenEmbedding(len(VOCABULARY), **sinusoids, output="tied"),
        [DecoderBlock(**size, norm_kind="rms", dropout=0.1), DecoderBlock(**size, norm_kind="rms")],
    )
    assert received(EncoderDecoder(encoder, decoder)) == [
        "encoder: blocks with different options",
        "encoder and decoder: norm_kind='layer' and 'rms'",
    ]
