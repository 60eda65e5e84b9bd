"""Weights of other code bases, in both directions."""

from patchlight.interop.reference import load_reference_weights, reference_state_dict

__all__ = ["load_reference_weights", "reference_state_dict"]
