"""Compiled stages of the CPU backend."""
