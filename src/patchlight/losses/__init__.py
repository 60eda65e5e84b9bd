"""Losses in plain PyTorch."""

from patchlight.losses.ada import ADA
from patchlight.losses.adversarial import (
    AdversarialMode,
    AdversarialObjective,
    GANLoss,
    GANMode,
    Prediction,
    RelativisticLoss,
    make_objective,
)
from patchlight.losses.augment import AdaptiveAugment, ConditionalAugment
from patchlight.losses.diffaugment import DiffAugment
from patchlight.losses.feature_matching import FeatureMatchingLoss
from patchlight.losses.feature_terms import FeatureMatchingTerm, LPIPSTerm, PerceptualTerm
from patchlight.losses.image_terms import ComparisonTerm, MSSSIMTerm, SSIMTerm, TotalVariationTerm
from patchlight.losses.patch_nce import Negatives, PatchNCELoss
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
    "ADA",
    "R1",
    "R2",
    "VGG19_LAYERS",
    "VGG19_WEIGHTS",
    "AdaptiveAugment",
    "AdversarialMode",
    "AdversarialObjective",
    "ComparisonTerm",
    "ConditionalAugment",
    "DiffAugment",
    "FeatureMatchingLoss",
    "FeatureMatchingTerm",
    "Features",
    "GANLoss",
    "GANMode",
    "GeneratorTerm",
    "GradientPenalty",
    "LPIPSTerm",
    "MSSSIMTerm",
    "Negatives",
    "PatchNCELoss",
    "Penalised",
    "Penalty",
    "PerceptualLoss",
    "PerceptualTerm",
    "Prediction",
    "RelativisticLoss",
    "SSIMTerm",
    "StepImages",
    "TotalVariationTerm",
    "WeightedTerm",
    "gradient_penalty",
    "make_objective",
    "require_penalisable",
]
