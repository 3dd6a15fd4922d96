"""Helpers that are independent of the models."""
