"""Trained generators at work: from a checkpoint to translated images."""

from patchlight.inference.loading import Weights, load
from patchlight.inference.translator import Translator
from patchlight.system.devices import Precision

__all__ = ["Precision", "Translator", "Weights", "load"]
