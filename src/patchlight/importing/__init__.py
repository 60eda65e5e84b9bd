"""Weights of the reference PyTorch code, made into checkpoints."""
