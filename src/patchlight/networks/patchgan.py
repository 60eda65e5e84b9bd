"""PatchGAN discriminators: fully convolutional, each value of the output map judges one patch of the image."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from patchlight.networks.base import Discriminator
from patchlight.networks.layers import NEGATIVE_SLOPE, BlurDownsample, normalise_spectrum, require_at_least
from patchlight.networks.norms import Norm, bias_before, norm_layers

MAX_WIDTH = 8
"""Filters double with each layer and stop at this multiple of `ndf`."""


class PatchDiscriminator(Discriminator):
    """The N x N PatchGAN: `n_layers` strided convolutions, then two of stride 1; no dense layer.

    Shapes: (B, in_channels, H, W) -> (B, 1, h, w) logits, where h = H / 2^n_layers - 2. Each logit sees a square
    patch: 16, 34, 70, 142, 286 pixels wide for n_layers = 1 to 5. A conditional discriminator gets input and output
    concatenated along the channels. `spectral_norm` bounds the Lipschitz constant of every convolution. With
    `antialias` each strided convolution has stride 1, and a low-pass filter behind its activation halves the
    resolution; the patches are then 18, 40, 84, 172 and 348 pixels wide.

    Raises:
        ValueError: an argument out of range, or an image so small that the map would be empty.

    Source: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", section 3.2.2 and
    appendix 6.1.2; Miyato et al. 2018 for spectral norm; Zhang 2019 for `antialias`.
    """

    def __init__(
        self,
        in_channels: PositiveInt,
        ndf: PositiveInt = 64,
        n_layers: Annotated[int, Field(ge=1, le=16)] = 3,
        norm: Norm = "batch",
        spectral_norm: bool = False,
        antialias: bool = False,
    ) -> None:
        super().__init__()
        require_at_least("in_channels", in_channels, 1)
        require_at_least("ndf", ndf, 1)
        require_at_least("n_layers", n_layers, 1)
        self.n_layers = n_layers
        self.min_size = 3 * 2**n_layers
        widths = [ndf * min(2**i, MAX_WIDTH) for i in range(n_layers + 1)]
        halving = 1 if antialias else 2
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, widths[0], kernel_size=4, stride=halving, padding=1),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            *([BlurDownsample()] if antialias else []),
        ]
        for i in range(1, n_layers + 1):
            halves = i < n_layers
            layers += [
                nn.Conv2d(widths[i - 1], widths[i], 4, halving if halves else 1, padding=1, bias=bias_before(norm)),
                *norm_layers(norm, widths[i]),
                nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
                *([BlurDownsample()] if antialias and halves else []),
            ]
        layers.append(nn.Conv2d(widths[-1], 1, kernel_size=4, stride=1, padding=1))
        self.layers = nn.Sequential(*layers)
        if spectral_norm:
            normalise_spectrum(self)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if min(height, width) < self.min_size:
            raise ValueError(
                f"n_layers={self.n_layers} leaves an empty patch map for a {height}x{width} image: "
                f"it needs at least {self.min_size} pixels a side, or fewer layers"
            )
        logits: Tensor = self.layers(image)
        return logits

    def features(self, image: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        return (block_features(self.layers, image),)


class PixelDiscriminator(Discriminator):
    """The 1 x 1 PatchGAN: judges every pixel by itself.

    Shapes: (B, in_channels, H, W) -> (B, 1, H, W) logits.

    Raises:
        ValueError: an argument out of range.

    Source: Isola et al. 2017, section 4.4 and appendix 6.1.2.
    """

    def __init__(
        self, in_channels: PositiveInt, ndf: PositiveInt = 64, norm: Norm = "batch", spectral_norm: bool = False
    ) -> None:
        super().__init__()
        require_at_least("in_channels", in_channels, 1)
        require_at_least("ndf", ndf, 1)
        bias = bias_before(norm)
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, ndf, kernel_size=1),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            nn.Conv2d(ndf, 2 * ndf, kernel_size=1, bias=bias),
            *norm_layers(norm, 2 * ndf),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            nn.Conv2d(2 * ndf, 1, kernel_size=1, bias=bias),
        )
        if spectral_norm:
            normalise_spectrum(self)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image)
        return logits

    def features(self, image: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        return (block_features(self.layers, image),)


def block_features(layers: nn.Sequential, image: Tensor) -> tuple[Tensor, ...]:
    """What layers make of an image up to each activation, and what they make of it at all.

    Source: Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", section
    3.3, for which features of a discriminator are compared.
    """
    features = []
    for layer in layers:
        image = layer(image)
        if isinstance(layer, nn.LeakyReLU):
            features.append(image)
    return (*features, image)
