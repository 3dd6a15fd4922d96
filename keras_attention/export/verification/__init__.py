"""Verification of exports: samples, comparison with the model, quality and report."""
