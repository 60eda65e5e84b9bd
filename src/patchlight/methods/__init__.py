"""The LightningModules: one file, one way of learning to translate images."""

from patchlight.methods.base import TranslationMethod
from patchlight.methods.cut import CUT
from patchlight.methods.cyclegan import CycleGAN
from patchlight.methods.image_pool import ImagePool
from patchlight.methods.networks import NetworkSpec
from patchlight.methods.optimization import Loss, Terms, batch_weights, mean_terms
from patchlight.methods.pix2pix import Pix2Pix
from patchlight.methods.pix2pixhd import Pix2PixHD
from patchlight.methods.state import Batch

__all__ = [
    "CUT",
    "Batch",
    "CycleGAN",
    "ImagePool",
    "Loss",
    "NetworkSpec",
    "Pix2Pix",
    "Pix2PixHD",
    "Terms",
    "TranslationMethod",
    "batch_weights",
    "mean_terms",
]
