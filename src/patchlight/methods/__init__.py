"""The LightningModules: one file, one way of learning to translate images."""

from patchlight.methods.base import TranslationMethod
from patchlight.methods.cyclegan import CycleGAN
from patchlight.methods.image_pool import ImagePool
from patchlight.methods.networks import NetworkSpec
from patchlight.methods.pix2pix import Pix2Pix

__all__ = ["CycleGAN", "ImagePool", "NetworkSpec", "Pix2Pix", "TranslationMethod"]
