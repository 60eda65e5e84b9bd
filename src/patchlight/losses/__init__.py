"""Losses in plain PyTorch."""

from patchlight.losses.adversarial import (
    AdversarialMode,
    AdversarialObjective,
    GANLoss,
    GANMode,
    Maps,
    RelativisticLoss,
    make_objective,
)
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
    "R1", "R2", "AdversarialMode", "AdversarialObjective", "GANLoss", "GANMode", "GradientPenalty", "Maps",
    "Penalised", "Penalty", "RelativisticLoss", "gradient_penalty", "make_objective", "require_penalisable",
]  # fmt: skip
