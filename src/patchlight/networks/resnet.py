"""Residual generators: CycleGAN's, which halves and doubles by convolutions, and one that works on shuffled pixels."""

from __future__ import annotations

from typing import get_args

from pydantic import NonNegativeInt, PositiveInt
from torch import nn

from patchlight.networks.generator_layers import Upsample, upsampling_layers
from patchlight.networks.layers import (
    Antialias,
    BlurDownsample,
    PixelShuffleConv2d,
    ReflectionPad2d,
    require_at_least,
)
from patchlight.networks.norms import Norm, bias_before, norm_layers
from patchlight.networks.residual import Block, Padding, ResidualGenerator, residual_blocks
from patchlight.networks.winograd import WinogradConv2d

SHUFFLED = 4
"""Pixels a side that become channels, in the generator that works at a quarter of the resolution."""


class ResNetGenerator(ResidualGenerator):
    """Residual generator: 6 blocks for 128 pixels and 9 for 256 in the paper.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, H, W), values in [-1, 1] (tanh). H and W are multiples of 4.
    `padding` is that of the residual blocks; the 7x7 convolutions at both ends always pad by reflection. `antialias`
    says which changes of resolution are a low-pass filter beside a convolution of stride 1, in place of a strided one;
    on the way up this is `upsample=bilinear`, one of several ways to double the resolution. `block` says whether the
    blocks have whole or depthwise-separable convolutions, `attention` adds self-attention in the middle of them.

    Raises:
        ValueError: an argument out of range, or an image size that is not a multiple of 4.

    Source: Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer"; Zhu et al. 2017, "Unpaired
    Image-to-Image Translation using Cycle-Consistent Adversarial Networks", appendix 7.2; Zhang 2019 for `antialias`.
    """

    def __init__(
        self,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        n_blocks: NonNegativeInt = 9,
        ngf: PositiveInt = 64,
        norm: Norm = "instance",
        dropout: bool = False,
        padding: Padding = "reflect",
        antialias: Antialias = "none",
        upsample: Upsample = "transposed",
        block: Block = "residual",
        attention: bool = False,
    ) -> None:
        if antialias not in get_args(Antialias):
            raise ValueError(f"antialias must be one of {', '.join(get_args(Antialias))}, got {antialias!r}")
        if antialias in ("up", "both"):
            if upsample not in ("transposed", "bilinear"):
                raise ValueError(
                    f"upsample={upsample} is another way up than antialias={antialias}, whose filters are those of "
                    f"upsample=bilinear: choose one of them, or antialias=down"
                )
            upsample = "bilinear"
        _require_sizes(in_channels, out_channels, n_blocks, ngf)
        bias = bias_before(norm)
        layers: list[nn.Module] = [ReflectionPad2d(3), nn.Conv2d(in_channels, ngf, kernel_size=7, bias=bias)]
        layers += [*norm_layers(norm, ngf), nn.ReLU(inplace=True)]
        for width in (ngf, 2 * ngf):
            blurs = antialias in ("down", "both")
            layers.append(
                WinogradConv2d(width, 2 * width, padding=1, bias=bias)
                if blurs
                else nn.Conv2d(width, 2 * width, kernel_size=3, stride=2, padding=1, bias=bias)
            )
            layers += [*norm_layers(norm, 2 * width), nn.ReLU(inplace=True), *([BlurDownsample()] if blurs else [])]
        layers += residual_blocks(
            n_blocks, 4 * ngf, block=block, norm=norm, dropout=dropout, padding=padding, attention=attention
        )
        for width in (4 * ngf, 2 * ngf):
            layers += upsampling_layers(upsample, width, width // 2, kernel_size=3, bias=bias, by_tiles=True)
            layers += [*norm_layers(norm, width // 2), nn.ReLU(inplace=True)]
        layers += [ReflectionPad2d(3), nn.Conv2d(ngf, out_channels, kernel_size=7), nn.Tanh()]
        super().__init__(layers)
        self.upsample, self.block, self.attention = upsample, block, attention


class QuarterResNetGenerator(ResidualGenerator):
    """Residual generator of which all layers work at a quarter of the image's height and width.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, H, W), values in [-1, 1] (tanh). H and W are multiples of 4.
    The pixels of a square of 4 x 4 become channels (pixel-unshuffle), one convolution makes 4 ngf of them, which the
    residual blocks have, and another makes channels that become pixels again (pixel-shuffle). There are no layers at
    higher resolutions, whose features take most of the memory. `attention` adds self-attention in the middle of the
    blocks.

    Raises:
        ValueError: an argument out of range, or an image size that is not a multiple of 4.

    Source: Shi et al. 2016 for both ways to shuffle (see `PixelShuffleConv2d`); Zhang et al. 2018, "FFDNet: Toward a
    Fast and Flexible Solution for CNN-Based Image Denoising", section III, for a network between the two.
    """

    def __init__(
        self,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        n_blocks: NonNegativeInt = 9,
        ngf: PositiveInt = 32,
        norm: Norm = "instance",
        dropout: bool = False,
        padding: Padding = "reflect",
        attention: bool = False,
    ) -> None:
        _require_sizes(in_channels, out_channels, n_blocks, ngf)
        super().__init__([
            nn.PixelUnshuffle(SHUFFLED),
            ReflectionPad2d(1),
            nn.Conv2d(SHUFFLED**2 * in_channels, 4 * ngf, kernel_size=3, bias=bias_before(norm)),
            *norm_layers(norm, 4 * ngf),
            nn.ReLU(inplace=True),
            *residual_blocks(
                n_blocks, 4 * ngf, block="residual", norm=norm, dropout=dropout, padding=padding, attention=attention
            ),
            ReflectionPad2d(1),
            PixelShuffleConv2d(4 * ngf, out_channels, factor=SHUFFLED, padding=0),
            nn.Tanh(),
        ])  # fmt: skip


def _require_sizes(in_channels: int, out_channels: int, n_blocks: int, ngf: int) -> None:
    require_at_least("in_channels", in_channels, 1)
    require_at_least("out_channels", out_channels, 1)
    require_at_least("n_blocks", n_blocks, 0)
    require_at_least("ngf", ngf, 1)
