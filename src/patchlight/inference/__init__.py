"""Trained generators at work: from a checkpoint to translated images."""

from patchlight.inference.loading import TrainedModel, Weights, load
from patchlight.inference.patch_scorer import PatchScorer
from patchlight.inference.translator import Translator
from patchlight.system.devices import Precision

__all__ = ["PatchScorer", "Precision", "TrainedModel", "Translator", "Weights", "load"]
