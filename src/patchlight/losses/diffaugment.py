"""DiffAugment: colour, translation and cutout in front of a discriminator, always at work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, get_args

import torch
from pydantic import Field
from torch import Tensor

from patchlight.losses.augment import ConditionalAugment, change_judged

DiffAugmentStep = Literal["colour", "translation", "cutout"]


class DiffAugment(ConditionalAugment):
    """The differentiable augmentations of `policy`, in its order, for every image real or generated.

    - `colour`, of the judged image: brightness + U(-0.5, 0.5), saturation times U(0, 2), contrast times U(0.5, 1.5)
    - `translation`: by whole pixels, up to `max_shift` of each side, zeros coming in
    - `cutout`: a rectangle of `cutout_size` of each side, centred anywhere in the image, is zero

    Raises:
        ValueError: an unknown step, an empty policy, or a share outside [0, 1].

    Source: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", section 3.3.
    """

    def __init__(
        self,
        policy: Sequence[DiffAugmentStep] = ("colour", "translation", "cutout"),
        max_shift: Annotated[float, Field(ge=0, le=1)] = 0.125,
        cutout_size: Annotated[float, Field(ge=0, le=1)] = 0.5,
    ) -> None:
        super().__init__()
        require_steps(policy, get_args(DiffAugmentStep))
        for name, value in (("max_shift", max_shift), ("cutout_size", cutout_size)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be a share from 0 to 1, got {value}")
        self.policy = tuple(policy)
        self.max_shift = max_shift
        self.cutout_size = cutout_size

    def augment(self, images: Tensor, condition_channels: int) -> Tensor:
        for step in self.policy:
            match step:
                case "colour":
                    images = change_judged(images, condition_channels, _recoloured(images[:, condition_channels:]))
                case "translation":
                    for dim in (2, 3):
                        images = _translated(images, dim, round_half_up(self.max_shift * images.shape[dim]))
                case "cutout":
                    images = images * self._outside_hole(images)
        return images

    def _outside_hole(self, images: Tensor) -> Tensor:
        """0 in a rectangle of each image and 1 elsewhere, B 1 H W."""
        inside = []
        for dim in (2, 3):
            n = images.shape[dim]
            size = round_half_up(self.cutout_size * n)
            centre = torch.randint(0, n + 1 - size % 2, (len(images), 1), device=images.device)
            places = torch.arange(n, device=images.device) - centre + size // 2
            inside.append((places >= 0) & (places < size))
        hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return (~hole).to(images.dtype)

    def extra_repr(self) -> str:
        return f"policy={list(self.policy)}"


def require_steps(policy: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise a ValueError unless a policy names at least one step, and known ones only."""
    if not policy or set(policy) - set(allowed):
        raise ValueError(f"policy must be a list of some of {', '.join(allowed)}, got {list(policy)}")


def round_half_up(value: float) -> int:
    """The nearest whole number to one that is not negative."""
    return int(value + 0.5)


def _recoloured(images: Tensor) -> Tensor:
    def uniform() -> Tensor:
        return torch.rand(len(images), 1, 1, 1, dtype=images.dtype, device=images.device)

    images = images + (uniform() - 0.5)
    gray = images.mean(dim=1, keepdim=True)
    images = gray + (images - gray) * (2 * uniform())
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * (0.5 + uniform())


def _translated(images: Tensor, dim: int, most: int) -> Tensor:
    n = images.shape[dim]
    shifts = torch.randint(-most, most + 1, (len(images), 1), device=images.device)
    places = torch.arange(n, device=images.device) - shifts
    shape = [len(images), 1, 1, 1]
    shape[dim] = n
    moved = images.gather(dim, places.clamp(0, n - 1).view(shape).expand_as(images))
    return moved * ((places >= 0) & (places < n)).view(shape)
