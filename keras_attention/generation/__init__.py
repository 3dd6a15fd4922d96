"""Generation strategies, and the Keras models that run them."""

from keras_attention.generation.beam_search import BeamSearch
from keras_attention.generation.generator import Generator
from keras_attention.generation.greedy_search import GreedySearch
from keras_attention.generation.sampling import Sampling
from keras_attention.generation.strategy import GenerationOutput, Strategy
from keras_attention.generation.streaming import Streamer

__all__ = [
    "BeamSearch",
    "GenerationOutput",
    "Generator",
    "GreedySearch",
    "Sampling",
    "Strategy",
    "Streamer",
]
