"""Scores of generated text against references."""

from keras_attention.metrics.corpus import Score, bleu, chrf, corpus_scores

__all__ = ["Score", "bleu", "chrf", "corpus_scores"]
