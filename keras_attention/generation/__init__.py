"""Strategies that turn a decoder's steps into answers."""

from keras_attention.generation.beam_search import BeamSearch
from keras_attention.generation.full_beam import FullBeam
from keras_attention.generation.generator import Generator
from keras_attention.generation.greedy_search import GreedySearch, Sampling
from keras_attention.generation.strategy import GenerationOutput, Strategy
from keras_attention.generation.streaming import Streamer

__all__ = [
    "BeamSearch",
    "FullBeam",
    "GenerationOutput",
    "Generator",
    "GreedySearch",
    "Sampling",
    "Strategy",
    "Streamer",
]
