"""A small server with TensorFlow Serving's REST API, for development and without Docker."""

from keras_attention.serving.app import build_app, serve
from keras_attention.serving.errors import RequestError
from keras_attention.serving.model import ServedModel

__all__ = ["RequestError", "ServedModel", "build_app", "serve"]
