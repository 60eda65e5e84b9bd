"""Patchlight: image-to-image translation with PatchGAN discriminators, on PyTorch Lightning and Hydra."""

import os

# albumentations looks for a newer release of itself on the network when it is imported, unless this is set.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"
