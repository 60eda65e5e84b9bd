"""The random geometric and colour transforms of ADA, as matrices that are drawn for each image of a batch.

Each transform is drawn with the probability of the pipeline, and is the identity otherwise. Nothing waits for the
device.

Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix B.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

XINT_MAX, XFRAC_STD = 0.125, 0.125
SCALE_STD, ANISO_STD = 0.2, 0.2
BRIGHTNESS_STD, CONTRAST_STD, SATURATION_STD = 0.2, 0.5, 1.0


class Draws:
    """Random numbers for `n` images, neutral in those that a transform leaves out: of one draw (n,), of two (2, n)."""

    def __init__(self, n: int, probability: Tensor, like: Tensor) -> None:
        self.n = n
        self.probability = probability.to(like)
        self.like = like

    def uniform(self, limit: float, parts: tuple[int, ...] = (), probability: Tensor | None = None) -> Tensor:
        """Numbers from -limit to limit, or 0."""
        return self._gated(limit * (2 * self._rand(parts) - 1), probability)

    def normal(self, std: float, parts: tuple[int, ...] = ()) -> Tensor:
        """Normally distributed numbers around 0, or 0."""
        return self._gated(std * torch.randn(*parts, self.n, dtype=self.like.dtype, device=self.like.device))

    def integer(self, n: int) -> Tensor:
        """Whole numbers from 0 to n - 1, or 0."""
        return self._gated((n * self._rand()).floor())

    def _rand(self, parts: tuple[int, ...] = ()) -> Tensor:
        return torch.rand(*parts, self.n, dtype=self.like.dtype, device=self.like.device)

    def _gated(self, values: Tensor, probability: Tensor | None = None) -> Tensor:
        return values * (self._rand() < (self.probability if probability is None else probability))


def blit(draws: Draws, height: int, width: int) -> Tensor:
    """Mirroring, quarter turns and shifts by whole pixels: from a place in the result to one in the image, n 3 3.

    Places are in pixels from the centre, (x, y, 1).
    """
    mirrored, turns = 1 - 2 * draws.integer(2), draws.integer(4)
    x, y = draws.uniform(XINT_MAX, (2,))
    return (
        _scaling(mirrored, torch.ones_like(mirrored))
        @ _rotation(turns * (math.pi / 2))
        @ _shift((x * width).round(), (y * height).round())
    )


def geometry(draws: Draws, height: int, width: int) -> Tensor:
    """Scaling, rotation, stretching along any axis and shifts: from a place in the result to one in the image, n 3 3.

    Places are in pixels from the centre, (x, y, 1).
    """
    scale = 2 ** draws.normal(SCALE_STD)
    # So that a rotation, before or after the stretch, has the pipeline's probability.
    each = 1 - (1 - draws.probability).clamp(0, 1).sqrt()
    before = _rotation(draws.uniform(math.pi, probability=each))
    stretch = 2 ** draws.normal(ANISO_STD)
    after = _rotation(draws.uniform(math.pi, probability=each))
    x, y = draws.normal(XFRAC_STD, (2,))
    return (
        _scaling(1 / scale, 1 / scale) @ before @ _scaling(1 / stretch, stretch) @ after @ _shift(x * width, y * height)
    )


def colour(draws: Draws) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, luma flip, hue and saturation: a matrix for colours, n 3 3, and what is added, n 3."""
    brightness, contrast = draws.normal(BRIGHTNESS_STD), 2 ** draws.normal(CONTRAST_STD)
    flip, angle = draws.integer(2), draws.uniform(math.pi)
    saturation = 2 ** draws.normal(SATURATION_STD)
    identity = torch.eye(3, dtype=draws.like.dtype, device=draws.like.device)
    gray = torch.full_like(identity, 1 / 3)  # v v' for the luma axis v = (1, 1, 1) / sqrt 3
    flipped = identity - 2 * gray * flip[:, None, None]
    hue = _rotation_about_luma(angle)
    saturated = gray + (identity - gray) * saturation[:, None, None]
    # Of a colour (c, c, c) hue and saturation make the same.
    offset = (brightness * contrast * (1 - 2 * flip))[:, None].expand(-1, 3)
    return saturated @ hue @ flipped * contrast[:, None, None], offset


def luma(draws: Draws) -> tuple[Tensor, Tensor]:
    """Brightness and contrast, for images of any number of channels: a factor, and what is added to it, each (n,)."""
    brightness, contrast = draws.normal(BRIGHTNESS_STD), 2 ** draws.normal(CONTRAST_STD)
    return contrast, brightness * contrast


def _rotation_about_luma(angle: Tensor) -> Tensor:
    """Rotations of colours about the gray axis, n 3 3 (Rodrigues' formula)."""
    identity = torch.eye(3, dtype=angle.dtype, device=angle.device)
    gray = torch.full_like(identity, 1 / 3)
    one = torch.ones((), dtype=angle.dtype, device=angle.device) / math.sqrt(3)
    zero = torch.zeros_like(one)
    cross = torch.stack([zero, -one, one, one, zero, -one, -one, one, zero]).view(3, 3)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return gray + (identity - gray) * cos + cross * sin


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return torch.stack([x, zero, zero, zero, y, zero, zero, zero, one], dim=1).view(-1, 3, 3)


def _rotation(angle: Tensor) -> Tensor:
    zero, one, cos, sin = torch.zeros_like(angle), torch.ones_like(angle), angle.cos(), angle.sin()
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)


def _shift(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], dim=1).view(-1, 3, 3)
