"""Figures of attention weights: alignments of text and overlays on images."""

from keras_attention.utils.optional_imports import require_extra

require_extra("viz", "keras_attention.viz")

from keras_attention.viz.alignment import plot_alignment, save_figure
from keras_attention.viz.image_attention import animate_image_attention, plot_image_attention

__all__ = [
    "animate_image_attention",
    "plot_alignment",
    "plot_image_attention",
    "save_figure",
]
