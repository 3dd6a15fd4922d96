"""The `.litertlm` file: a TFLite file, a tokenizer and a description for LiteRT-LM.

The format is that of https://github.com/google-ai-edge/LiteRT-LM, `schema/`; the package
litert-lm-builder writes it.
"""

import io
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

from litert_lm_builder import litertlm_header_schema_py_generated as schema
from litert_lm_builder.litertlm_builder import DType, LitertLmFileBuilder, Metadata, TfLiteModelType
from litert_lm_builder.litertlm_peek import read_litertlm_header
from litert_lm_builder.runtime.proto.llm_metadata_pb2 import LlmMetadata
from litert_lm_builder.runtime.proto.sampler_params_pb2 import SamplerParameters

from keras_attention import __version__
from keras_attention.export.litert_lm.tokenizer_section import (
    HUGGING_FACE,
    SENTENCEPIECE,
    TokenizerSection,
)
from keras_attention.generation import Sampling, Strategy
from keras_attention.ops.ids import END, PAD, START
from keras_attention.utils.limits import limits

FILE = "model.litertlm"
SECTIONS = schema.AnySectionDataType
NUM_SIZE_BYTES = 8  # of the size in front of a compressed section


class Bundle(NamedTuple):
    """Contents of a `.litertlm` file.

    Attributes:
        model: contents of the TFLite file.
        tokenizer: the tokenizer.
        metadata: the special ids, the sampling and the maximum number of tokens.
    """

    model: bytes
    tokenizer: TokenizerSection
    metadata: LlmMetadata


def describe(strategy: Strategy, vocabulary_size: int, max_tokens: int) -> LlmMetadata:
    """Returns the description of a language model.

    Args:
        strategy: greedy search or sampling.
        vocabulary_size: number of ids.
        max_tokens: maximum number of tokens of a text.
    """
    metadata = LlmMetadata(max_num_tokens=max_tokens)
    metadata.start_token.token_ids.ids.append(START)
    metadata.stop_tokens.add().token_ids.ids.append(END)
    metadata.pad_token.token_ids.ids.append(PAD)
    metadata.suppress_tokens.ids.extend(strategy.suppressed_ids)
    metadata.llm_model_type.generic_model.SetInParent()
    metadata.sampler_params.CopyFrom(_sampler_parameters(strategy, vocabulary_size))
    return metadata


def _sampler_parameters(strategy, vocabulary_size):
    """Returns the default sampling; the runtime implements no other type than this."""
    parameters = SamplerParameters(type=SamplerParameters.TOP_P, k=1, p=1.0, temperature=1.0)
    if isinstance(strategy, Sampling) and strategy.temperature > 0:
        parameters.temperature = strategy.temperature
        parameters.k = min(strategy.top_k or vocabulary_size, vocabulary_size)
        parameters.p = strategy.top_p or 1.0
        parameters.seed = strategy.seed
    return parameters


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Writes a `.litertlm` file."""
    builder = LitertLmFileBuilder()
    producer = f"keras-attention {__version__}"
    builder.add_system_metadata(Metadata("Authors", producer, DType.STRING))
    with tempfile.TemporaryDirectory() as scratch:  # the builder reads files
        kind, tokenizer_content = bundle.tokenizer
        files = [Path(scratch, name) for name in ("model.tflite", kind, "metadata.pb")]
        contents = bundle.model, tokenizer_content, bundle.metadata.SerializeToString()
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        model, tokenizer, metadata = map(str, files)
        builder.add_llm_metadata(metadata)
        if kind == SENTENCEPIECE:
            builder.add_sentencepiece_tokenizer(tokenizer)
        else:
            builder.add_hf_tokenizer(tokenizer)
        builder.add_tflite_model(model, TfLiteModelType.PREFILL_DECODE)
        with path.open("wb") as stream:
            builder.build(stream)


def read_bundle(path: Path) -> Bundle:
    """Reads a `.litertlm` file that `write_bundle` wrote.

    Raises:
        ValueError: If it is another file, or a section is missing.
    """
    header = read_litertlm_header(str(path), io.StringIO()).SectionMetadata()
    sections = [header.Objects(i) for i in range(header.ObjectsLength())]
    offsets = {each.DataType(): (each.BeginOffset(), each.EndOffset()) for each in sections}

    def read(kind):
        if kind not in offsets:
            raise ValueError(
                f"The file must have a section of kind {kind}. Received: {str(path)!r} with "
                f"sections of the kinds {sorted(offsets)}"
            )
        begin, end = offsets[kind]
        with path.open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)

    if SECTIONS.HF_Tokenizer_Zlib in offsets:
        compressed = read(SECTIONS.HF_Tokenizer_Zlib)
        decompressor = zlib.decompressobj()
        content = decompressor.decompress(compressed[NUM_SIZE_BYTES:], limits.tokenizer_bytes)
        tokenizer = TokenizerSection(HUGGING_FACE, content)
    else:
        tokenizer = TokenizerSection(SENTENCEPIECE, read(SECTIONS.SP_Tokenizer))
    metadata = LlmMetadata.FromString(read(SECTIONS.LlmMetadataProto))
    return Bundle(read(SECTIONS.TFLiteModel), tokenizer, metadata)
