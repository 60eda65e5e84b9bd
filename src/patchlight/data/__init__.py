"""Image sets: reading, pairing, preprocessing and augmenting images, and the built-in synthetic set."""

from patchlight.data.batches import normalise
from patchlight.data.loading import EpochSampler, SampleKey, sample_rng
from patchlight.data.module import ImageDataModule
from patchlight.data.sources import Header, ImageSource, PairSource
from patchlight.data.synthetic import SyntheticSet
from patchlight.data.transforms import Augment

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
