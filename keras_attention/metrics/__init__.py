"""Metrics that compare generated text with references."""

from keras_attention.utils.optional_imports import require_extra

require_extra("metrics", "keras_attention.metrics")

from keras_attention.metrics.captions import caption_scores, tokenize
from keras_attention.metrics.corpus import Score, bleu, chrf, corpus_scores

__all__ = ["Score", "bleu", "caption_scores", "chrf", "corpus_scores", "tokenize"]
