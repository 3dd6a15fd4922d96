"""The `.litertlm` file: its sections, as LiteRT-LM's tools read them."""

import io

import pytest
from litert_lm_builder import litertlm_peek
from litert_lm_builder.litertlm_builder import LitertLmFileBuilder

from keras_attention.export.litert_lm.bundle import Bundle, describe, read_bundle, write_bundle
from keras_attention.export.litert_lm.tokenizer_section import (
    HUGGING_FACE,
    SENTENCEPIECE,
    TokenizerSection,
)
from keras_attention.generation import GreedySearch, Sampling

pytestmark = pytest.mark.tensorflow_only


@pytest.mark.parametrize(
    ("kind", "section"), [(SENTENCEPIECE, "SP_Tokenizer"), (HUGGING_FACE, "HF_Tokenizer_Zlib")]
)
def test_contents(kind, section, tmp_path):
    tokenizer = TokenizerSection(kind, b"tokenizer")
    bundle = Bundle(b"model", tokenizer, describe(GreedySearch(), 12, 40))
    write_bundle(tmp_path / "x.litertlm", bundle)
    assert read_bundle(tmp_path / "x.litertlm") == bundle
    text = io.StringIO()
    litertlm_peek.peek_litertlm_file(str(tmp_path / "x.litertlm"), None, text)
    for part in ("tf_lite_prefill_decode", section, "LlmMetadataProto", "keras-attention"):
        assert part in text.getvalue()


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.litertlm").write_bytes(b"something else" * 10)
    with pytest.raises(ValueError, match="Invalid magic"):
        read_bundle(tmp_path / "x.litertlm")
    with (tmp_path / "x.litertlm").open("wb") as stream:
        LitertLmFileBuilder().build(stream)
    with pytest.raises(ValueError, match="must have a section of kind .* of the kinds \\[\\]"):
        read_bundle(tmp_path / "x.litertlm")


def test_description():
    metadata = describe(GreedySearch(suppress_tokens=[7]), 12, 40)
    assert metadata.start_token.token_ids.ids == [1]
    assert [each.token_ids.ids for each in metadata.stop_tokens] == [[2]]
    assert metadata.suppress_tokens.ids == [0, 1, 7]
    assert metadata.max_num_tokens == 40
    assert metadata.sampler_params.k == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"temperature": 0.5}, (12, 1.0, 0.5)),
        ({"top_k": 5, "top_p": 0.75}, (5, 0.75, 1.0)),
        ({"top_k": 50}, (12, 1.0, 1.0)),
        ({"temperature": 0.0, "top_k": 5}, (1, 1.0, 1.0)),
    ],
)
def test_sampling(options, expected):
    parameters = describe(Sampling(**options, seed=3), 12, 40).sampler_params
    assert (parameters.k, parameters.p, parameters.temperature) == expected
    assert parameters.type == parameters.TOP_P
