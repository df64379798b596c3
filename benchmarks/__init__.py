"""Measurements: each is a ratio against a reference in the same run."""
