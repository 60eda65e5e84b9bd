"""Timings of this project against a plain PyTorch loop."""
