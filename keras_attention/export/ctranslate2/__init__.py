"""CTranslate2 export: mapping of the weights, writer and runner, for translation in bulk."""

from keras_attention.utils.optional_imports import require_extra

require_extra("ctranslate2", "keras_attention.export.ctranslate2")
