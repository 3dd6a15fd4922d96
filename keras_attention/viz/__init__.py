from keras_attention.viz.alignment import alignment as alignment
from keras_attention.viz.alignment import save as save
