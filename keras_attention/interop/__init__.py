"""Weights of other libraries' layers, loaded into ours."""

from keras_attention.interop.attention import load_keras, load_torch

__all__ = ["load_keras", "load_torch"]
