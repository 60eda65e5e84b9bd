"""Terms of a generator's loss that compare features: of the discriminator, or of networks trained on ImageNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from patchlight.losses.feature_matching import FeatureMatchingLoss
from patchlight.losses.image_terms import Against, ComparisonTerm
from patchlight.losses.perceptual import VGG19_LAYERS, VGG19_WEIGHTS, PerceptualLoss
from patchlight.losses.pretrained import ImageNetInput, ImageNetNetwork, imagenet_features, read_weights, to_rgb
from patchlight.losses.terms import GeneratorTerm, StepImages
from patchlight.system.weights import ALEXNET, VGG16, WeightsFile

LPIPSNetwork = Literal["alexnet", "vgg16"]

LAYERS: Mapping[ImageNetNetwork, tuple[tuple[int, ...], tuple[float, ...]]] = {
    "vgg19": (VGG19_LAYERS, VGG19_WEIGHTS),
    "alexnet": ((1, 4, 7, 9, 11), (1.0,) * 5),
}
"""The compared layers, as positions in a network's `features`, and their weights: one ReLU of each of VGG19's stages
with the weights of pix2pixHD, and all of AlexNet's ReLUs."""

MIN_SIZES = {"vgg19": 16, "vgg16": 16, "alexnet": 31}
"""Pixels: below, a layer would have no place left."""


class FeatureMatchingTerm(GeneratorTerm):
    """What the discriminator's layers make of the generated image and of its target should be alike.

    Where a discriminator's maps have weights, as those of several discriminators have, their layers have them, too.

    Source: Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs",
    equation 4; see `FeatureMatchingLoss`.
    """

    needs_pairs = True
    needs_features = True

    def __init__(self, weight: NonNegativeFloat = 10.0, interval: PositiveInt = 1) -> None:
        super().__init__(weight, interval)
        self.loss = FeatureMatchingLoss()

    def forward(self, images: StepImages) -> Tensor:
        assert images.fake_features is not None
        assert images.real_features is not None
        value: Tensor = self.loss(images.fake_features, images.real_features, images.map_weights)
        return value


class PerceptualTerm(ComparisonTerm):
    """Weighted mean absolute differences of the features of a network trained on ImageNet, whose input is normalised.

    Images of other than three channels are compared by their first three, or by the first alone.

    Raises:
        ValueError: an unknown network, or weights that are not on the disk and cannot be downloaded.

    Source: Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", section 3.2;
    see `PerceptualLoss` and `LAYERS`.
    """

    def __init__(
        self,
        weight: NonNegativeFloat = 10.0,
        interval: PositiveInt = 1,
        against: Against = "target",
        network: ImageNetNetwork = "vgg19",
    ) -> None:
        super().__init__(weight, interval, against)
        self.input = ImageNetInput()
        features = imagenet_features(network)
        self.loss = PerceptualLoss(features, *LAYERS[network])
        self.min_size = MIN_SIZES[network]

    def compare(self, image: Tensor, reference: Tensor) -> Tensor:
        value: Tensor = self.loss(self.input(image), self.input(reference))
        return value


class LPIPSTerm(ComparisonTerm):
    """LPIPS, mean over the images: the distance of normalised features, weighted as people judge it.

    Images of other than three channels are compared by their first three, or by the first alone.

    Raises:
        ValueError: an unknown network, or weights that are not on the disk and cannot be downloaded.

    Source: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", equation 1,
    with the linear weights v0.1.
    """

    def __init__(
        self,
        weight: NonNegativeFloat = 1.0,
        interval: PositiveInt = 1,
        against: Against = "target",
        network: LPIPSNetwork = "alexnet",
    ) -> None:
        super().__init__(weight, interval, against)
        if network not in _LPIPS:
            raise ValueError(f"network must be one of {', '.join(_LPIPS)}, got {network!r}")
        kind, file = _LPIPS[network]
        self.network = read_weights("network", network, file, lambda: _lpips_network(kind))
        # As all other modules at the start of a training, where Lightning warns of some that are not.
        for module in self.network.modules():
            module.training = True
        self.min_size = MIN_SIZES[network]

    def compare(self, image: Tensor, reference: Tensor) -> Tensor:
        distances: Tensor = self.network.eval()(to_rgb(image), to_rgb(reference))  # without its dropout
        return distances.mean()


_LPIPS: Mapping[str, tuple[Literal["alex", "vgg"], WeightsFile]] = {
    "alexnet": ("alex", ALEXNET),
    "vgg16": ("vgg", VGG16),
}


def _lpips_network(kind: Literal["alex", "vgg"]) -> nn.Module:
    """The network of torchmetrics' metric, from two images B 3 H W in [-1, 1] to B 1 1 1."""
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return LearnedPerceptualImagePatchSimilarity(net_type=kind).net
