"""Small data sets: dates and colored shapes, generated on the fly, and a reader of Flickr8k."""

from keras_attention.datasets import dates, flickr8k, shapes

__all__ = [
    "dates",
    "flickr8k",
    "shapes",
]
