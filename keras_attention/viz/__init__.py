"""Figures of attention weights: alignments of text and overlays on images."""

from keras_attention.utils.optional_imports import require_extra

require_extra("viz", "keras_attention.viz")

from keras_attention.viz.alignment import plot_alignment as plot_alignment
from keras_attention.viz.alignment import save_figure as save_figure
from keras_attention.viz.image_attention import animate_image_attention as animate_image_attention
from keras_attention.viz.image_attention import plot_image_attention as plot_image_attention
