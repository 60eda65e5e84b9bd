"""Halving and doubling of feature maps by low-pass filters, so that a shifted image gives a shifted result."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from patchlight.networks.padding import ReflectionPad2d

Antialias = Literal["none", "down", "up", "both"]
"""Which of the two changes of resolution is filtered."""


class BlurDownsample(nn.Module):
    """Every second pixel of maps that were blurred with the binomial filter 1 2 1: (B, C, H, W) -> (B, C, H/2, W/2).

    Source: Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", section 3.2 (Triangle-3).
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.pad = ReflectionPad2d(1)
        # A constant, which no checkpoint needs to hold.
        self.register_buffer("kernel", binomial(3)[None, None], persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        channels = features.shape[1]
        kernel = self.kernel.to(features.dtype).expand(channels, 1, -1, -1)
        return F.conv2d(self.pad(features), kernel, stride=2, groups=channels)


class BlurUpsample(nn.Upsample):
    """Maps of twice the height and width, blurred with the binomial filter 1 3 3 1: (B, C, H, W) -> (B, C, 2H, 2W).

    Of zeros between the pixels that filter makes 3/4 of the nearer and 1/4 of the farther pixel, which is bilinear
    interpolation. At the edge, pixels are repeated.

    Source: Zhang 2019, section 3.2; Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation".
    """

    def __init__(self) -> None:
        super().__init__(scale_factor=2, mode="bilinear", align_corners=False)


def binomial(taps: int) -> Tensor:
    """The binomial filter in two dimensions, `taps` x `taps`, of sum 1."""
    row = torch.ones(1)
    for _ in range(taps - 1):
        row = F.pad(row, (0, 1)) + F.pad(row, (1, 0))
    kernel = row[:, None] * row[None, :]
    return kernel / kernel.sum()
