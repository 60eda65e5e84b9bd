"""Image sets: reading, pairing, preprocessing and augmenting images, and the built-in synthetic set."""

from patchlight.data.augment import Augment
from patchlight.data.datasets import normalise
from patchlight.data.module import ImageDataModule
from patchlight.data.sampling import EpochSampler, SampleKey, sample_rng
from patchlight.data.sources import Header, ImageSource, PairSource
from patchlight.data.synthetic import SyntheticSet

__all__ = [
    "Augment",
    "EpochSampler",
    "Header",
    "ImageDataModule",
    "ImageSource",
    "PairSource",
    "SampleKey",
    "SyntheticSet",
    "normalise",
    "sample_rng",
]
