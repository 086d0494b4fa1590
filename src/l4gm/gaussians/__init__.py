"""Gaussian sets, sequences of them, and their file formats."""
