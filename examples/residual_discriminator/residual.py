"""A discriminator of residual blocks with group norm and SiLU, which sees patches of 50 pixels."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor, nn

from patchlight.networks import Discriminator


class Block(nn.Module):
    """Two convolutions beside a shortcut: (B, C, H, W) -> (B, 2 C, H / 2, W / 2)."""

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(groups, width), nn.SiLU(), nn.Conv2d(width, 2 * width, 3, padding=1))
        self.second = nn.Sequential(
            nn.GroupNorm(groups, 2 * width), nn.SiLU(), nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        )
        self.shortcut = nn.Conv2d(width, 2 * width, 1)
        self.down = nn.AvgPool2d(2)

    def forward(self, features: Tensor) -> Tensor:
        down: Tensor = self.down(self.second(self.first(features)))
        return down + self.shortcut(self.down(features))


class ResidualDiscriminator(Discriminator):
    """(B, in_channels, H, W) -> (B, 1, H / 8, W / 8) logits; `ndf` is a multiple of `groups`."""

    min_size = 8

    def __init__(self, in_channels: PositiveInt, ndf: PositiveInt = 64, groups: PositiveInt = 4) -> None:
        super().__init__()
        first, last = nn.Conv2d(in_channels, ndf, 4, stride=2, padding=1), nn.Conv2d(4 * ndf, 1, 3, padding=1)
        self.layers = nn.Sequential(first, Block(groups, ndf), Block(groups, 2 * ndf), nn.SiLU(), last)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image)
        return logits
