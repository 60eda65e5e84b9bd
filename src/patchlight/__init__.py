"""Patchlight: image-to-image translation with PatchGAN discriminators, on PyTorch Lightning and Hydra."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patchlight.inference import load

# albumentations looks for a newer release of itself on the network when it is imported, unless this is set.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> object:
    """`load` once it is asked for: importing the package alone does not import PyTorch."""
    if name == "load":
        from patchlight.inference import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
