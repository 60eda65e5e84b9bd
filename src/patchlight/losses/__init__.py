"""Losses in plain PyTorch."""

from patchlight.losses.adversarial import (
    AdaptiveAugment,
    AdversarialMode,
    AdversarialObjective,
    GANLoss,
    GANMode,
    Prediction,
    RelativisticLoss,
    make_objective,
)
from patchlight.losses.feature_matching import FeatureMatchingLoss
from patchlight.losses.penalties import (
    R1,
    R2,
    GradientPenalty,
    Penalised,
    Penalty,
    gradient_penalty,
    require_penalisable,
)
from patchlight.losses.perceptual import VGG19_LAYERS, VGG19_WEIGHTS, PerceptualLoss
from patchlight.losses.terms import Features, GeneratorTerm, StepImages, WeightedTerm

__all__ = [
    "R1", "R2", "VGG19_LAYERS", "VGG19_WEIGHTS", "AdaptiveAugment", "AdversarialMode", "AdversarialObjective",
    "FeatureMatchingLoss", "Features", "GANLoss", "GANMode", "GeneratorTerm", "GradientPenalty", "Penalised", "Penalty",
    "PerceptualLoss", "Prediction", "RelativisticLoss", "StepImages", "WeightedTerm", "gradient_penalty",
    "make_objective", "require_penalisable",
]  # fmt: skip
