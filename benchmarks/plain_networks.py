"""U-Net, residual generator and PatchGAN discriminator as one writes them first: stock layers, one after the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class UNet(nn.Module):
    """The U-Net of pix2pix with `depth` halvings, batch norm and dropout: (B, 3, H, W) -> (B, 3, H, W)."""

    def __init__(self, depth: int, ngf: int = 64) -> None:
        super().__init__()
        widths = [ngf * min(2**level, 8) for level in range(depth)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level, width in enumerate(widths):
            above = 3 if level == 0 else widths[level - 1]
            inner = level == depth - 1
            down: list[nn.Module] = [nn.LeakyReLU(0.2)] if level else []
            down.append(nn.Conv2d(above, width, 4, 2, 1, bias=False))
            down += [nn.BatchNorm2d(width)] if level and not inner else []
            self.down.append(nn.Sequential(*down))
            up: list[nn.Module] = [nn.ReLU()]
            up.append(nn.ConvTranspose2d(width if inner else 2 * width, above, 4, 2, 1, bias=level == 0))
            up += [nn.BatchNorm2d(above)] if level else [nn.Tanh()]
            up += [nn.Dropout(0.5)] if level >= 4 and not inner else []
            self.up.append(nn.Sequential(*up))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = self.up[level](x if level == len(self.up) - 1 else torch.cat([skips[level], x], 1))
        return x


class Block(nn.Module):
    """Two padded 3x3 convolutions with instance norm, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class ResNet(nn.Sequential):
    """The residual generator of CycleGAN: (B, 3, H, W) -> (B, 3, H, W)."""

    def __init__(self, n_blocks: int, ngf: int = 64) -> None:
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, ngf, 7), nn.InstanceNorm2d(ngf), nn.ReLU()]
        for width in (ngf, 2 * ngf):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU()]
        layers += [Block(4 * ngf) for _ in range(n_blocks)]
        for width in (4 * ngf, 2 * ngf):
            layers += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1), nn.InstanceNorm2d(width // 2), nn.ReLU()]
        super().__init__(*layers, nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, 7), nn.Tanh())


class PatchGAN(nn.Sequential):
    """The discriminator: (B, in_channels, H, W) -> (B, 1, h, w) logits."""

    def __init__(self, in_channels: int, norm: type[nn.Module], ndf: int = 64, n_layers: int = 3) -> None:
        layers: list[nn.Module] = [nn.Conv2d(in_channels, ndf, 4, 2, 1), nn.LeakyReLU(0.2)]
        for i in range(1, n_layers + 1):
            before, width = ndf * min(2 ** (i - 1), 8), ndf * min(2**i, 8)
            layers += [nn.Conv2d(before, width, 4, 2 if i < n_layers else 1, 1), norm(width), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(ndf * min(2**n_layers, 8), 1, 4, 1, 1))
