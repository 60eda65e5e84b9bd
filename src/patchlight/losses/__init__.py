"""Losses in plain PyTorch."""

from patchlight.losses.adversarial import GANLoss, GANMode
from patchlight.losses.penalties import GradientPenalty, gradient_penalty, require_penalisable

__all__ = ["GANLoss", "GANMode", "GradientPenalty", "gradient_penalty", "require_penalisable"]
