"""Strategies that turn a decoder's steps into answers."""

from keras_attention.generation.beam import Beam
from keras_attention.generation.full_beam import FullBeam
from keras_attention.generation.generator import Generator
from keras_attention.generation.greedy import Greedy, Sample
from keras_attention.generation.strategy import Generated, Strategy
from keras_attention.generation.stream import Streamer

__all__ = [
    "Beam",
    "FullBeam",
    "Generated",
    "Generator",
    "Greedy",
    "Sample",
    "Strategy",
    "Streamer",
]
