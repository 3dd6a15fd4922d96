"""ONNX export: conversion, writer and runner."""

from keras_attention.utils.optional_imports import require_extra

require_extra("onnx", "keras_attention.export.onnx")
