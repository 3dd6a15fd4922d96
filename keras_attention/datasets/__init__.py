from keras_attention.datasets import dates as dates
