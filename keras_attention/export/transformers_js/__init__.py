"""Export to the folder that transformers.js and Optimum load: graphs, tokenizer, writer, runner."""

from keras_attention.utils.optional_imports import require_extra

require_extra("onnx", "keras_attention.export.transformers_js")
