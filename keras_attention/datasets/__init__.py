"""Small data sets: dates and colored shapes, generated on the fly, and a reader of Flickr8k."""

from keras_attention.datasets import dates as dates
from keras_attention.datasets import flickr8k as flickr8k
from keras_attention.datasets import shapes as shapes
