"""Losses in plain PyTorch."""

from patchlight.losses.adversarial import GANLoss, GANMode, RelativisticLoss
from patchlight.losses.penalties import (
    R1,
    R2,
    GradientPenalty,
    Penalised,
    Penalty,
    gradient_penalty,
    require_penalisable,
)

__all__ = [
    "R1", "R2", "GANLoss", "GANMode", "GradientPenalty", "Penalised", "Penalty", "RelativisticLoss",
    "gradient_penalty", "require_penalisable",
]  # fmt: skip
