"""Patchlight: image-to-image translation with PatchGAN discriminators, on PyTorch Lightning and Hydra."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patchlight.inference import load
    from patchlight.runs.session import compose, train

# albumentations looks for a newer release of itself on the network when it is imported, unless this is set.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"
__all__ = ["__version__", "compose", "load", "train"]


def __getattr__(name: str) -> object:
    """`load`, `train` and `compose` once they are asked for: importing the package alone does not import PyTorch."""
    if name == "load":
        from patchlight.inference import load

        return load
    if name in ("compose", "train"):
        from patchlight.runs import session

        return session.compose if name == "compose" else session.train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
