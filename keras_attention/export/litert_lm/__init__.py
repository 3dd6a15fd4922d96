"""Export of language models to the file that LiteRT-LM runs: graphs, bundle, writer, runner."""

from keras_attention.utils.optional_imports import require_extra

require_extra("litert_lm", "keras_attention.export.litert_lm")
