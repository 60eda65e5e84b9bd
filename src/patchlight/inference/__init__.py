"""Trained generators at work: from a checkpoint to translated images."""

from patchlight.inference.devices import Precision
from patchlight.inference.loading import Weights, load
from patchlight.inference.translator import Translator

__all__ = ["Precision", "Translator", "Weights", "load"]
