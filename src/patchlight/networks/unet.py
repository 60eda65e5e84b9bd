"""The U-Net generator of pix2pix: an encoder-decoder with a skip connection at every resolution."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from patchlight.networks.base import Generator, recomputed
from patchlight.networks.generator_layers import SelfAttention, Upsample, upsampling_layers
from patchlight.networks.layers import NEGATIVE_SLOPE, require_at_least
from patchlight.networks.norms import Norm, bias_before, norm_layers

MAX_WIDTH = 8
"""Filters double with each level and stop at this multiple of `ngf`."""

ATTENTION_LEVEL = 4
"""Halvings before self-attention: 16 x 16 places of 256 pixels. The maps below have too few places to look at."""


class UNetGenerator(Generator):
    """U-Net with `num_downs` halvings: 7 bring 128 pixels to 1 x 1, 8 bring 256.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, H, W), values in [-1, 1] (tanh). H and W are multiples of
    2^num_downs. `dropout` of 0.5 acts, at training time, in the decoder levels between the innermost and the three
    or four that change the width: it is the paper's only source of noise. `upsample` says how the decoder doubles the
    resolution. `attention` adds self-attention to the encoder at a sixteenth of the resolution, or at the lowest where
    there are fewer than four halvings.

    Raises:
        ValueError: an argument out of range, or an image size that cannot be halved `num_downs` times.

    Source: Isola et al. 2017, section 3.2.1 and appendix 6.1.1.
    """

    def __init__(
        self,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        num_downs: Annotated[int, Field(ge=1, le=16)] = 8,
        ngf: PositiveInt = 64,
        norm: Norm = "batch",
        dropout: bool = False,
        upsample: Upsample = "transposed",
        attention: bool = False,
    ) -> None:
        super().__init__()
        require_at_least("in_channels", in_channels, 1)
        require_at_least("out_channels", out_channels, 1)
        require_at_least("num_downs", num_downs, 1)
        require_at_least("ngf", ngf, 1)
        self.num_downs, self.upsample, self.attention = num_downs, upsample, attention
        self.size_multiple = 2**num_downs
        widths = [ngf * min(2**level, MAX_WIDTH) for level in range(num_downs)]
        encoder: list[nn.Module] = []
        decoder: list[nn.Module] = []
        for level, width in enumerate(widths):
            outermost, innermost = level == 0, level == num_downs - 1
            outer_width = in_channels if outermost else widths[level - 1]
            down: list[nn.Module] = [] if outermost else [nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)]
            down.append(nn.Conv2d(outer_width, width, kernel_size=4, stride=2, padding=1, bias=bias_before(norm)))
            if not (outermost or innermost):
                down += norm_layers(norm, width)
            if attention and level == min(num_downs, ATTENTION_LEVEL) - 1:
                down.append(SelfAttention(width))
            encoder.append(nn.Sequential(*down))

            # What the level below returns is concatenated with this level's own features, except at the bottom.
            inner_width = width if innermost else 2 * width
            up_width = out_channels if outermost else outer_width
            up_bias = True if outermost else bias_before(norm)
            up: list[nn.Module] = [nn.ReLU(inplace=True)]
            up += upsampling_layers(upsample, inner_width, up_width, kernel_size=4, bias=up_bias)
            up += [nn.Tanh()] if outermost else norm_layers(norm, up_width)
            if dropout and not innermost and level >= 4:
                up.append(nn.Dropout(0.5))
            decoder.insert(0, nn.Sequential(*up))
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)
        self._recompute = False

    def recompute_features(self) -> None:
        self._recompute = True
        for layer in self.modules():
            if isinstance(layer, nn.ReLU | nn.LeakyReLU):
                layer.inplace = False  # or the second computation would begin with changed features

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if height % self.size_multiple or width % self.size_multiple:
            raise ValueError(
                f"num_downs={self.num_downs} needs image sides that are multiples of {self.size_multiple}, "
                f"got {height}x{width}"
            )
        features: list[Tensor] = []
        for down in self.encoder:
            image = self._run(down, image)
            features.append(image)
        # The next level's in-place LeakyReLU has changed these features by now. The decoder begins with a ReLU, for
        # which that makes no difference: ReLU(LeakyReLU(x)) = ReLU(x).
        image = features.pop()
        for up in self.decoder:
            image = self._run(up, image)
            if features:
                image = torch.cat([features.pop(), image], dim=1)
        return image

    def _run(self, level: nn.Module, features: Tensor) -> Tensor:
        if self._recompute:
            return recomputed(level, features)
        result: Tensor = level(features)
        return result
