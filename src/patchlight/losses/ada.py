"""Adaptive discriminator augmentation: as many augmentations as the discriminator's overfitting asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, get_args

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, distributed

from patchlight.losses.ada_transforms import Draws, blit, colour, geometry, luma
from patchlight.losses.augment import AdaptiveAugment, ConditionalAugment, change_judged
from patchlight.losses.diffaugment import require_steps
from patchlight.losses.resampling import transform

ADAStep = Literal["blit", "geometry", "colour"]


class ADA(ConditionalAugment, AdaptiveAugment):
    """A pipeline of transforms, each drawn for each image with a probability that follows the logits of real images.

    `policy` is a choice of `blit` (mirroring, quarter turns, shifts by whole pixels), `geometry` (scaling, rotation,
    stretching, shifts) and `colour` (brightness, contrast, luma flip, hue, saturation; of the judged image alone). With
    a probability of 0 images are as they are, bit by bit.

    In every `interval`-th step of a discriminator the probability moves up if the mean sign of the real logits since
    then, the share of patches taken for real less that of patches taken for generated, is above `target`, and down
    otherwise. Over `ramp_images` real images it can move from 0 to 1, and it stays below `max_probability`. Logits are
    averaged over all ranks. The probability is 0 at first.

    Raises:
        ValueError: an unknown step, an empty policy, or a number out of range.

    Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", sections 2.2 and 3.1 and
    appendix B; there 500,000 is the number of images for the ramp, in trainings of 25 million, and 0.6 the target.
    """

    probability: Tensor
    certainty: Tensor
    """The mean sign of the real logits that the probability was last moved by."""
    _signs: Tensor
    _images: Tensor
    _steps: Tensor

    def __init__(
        self,
        policy: Sequence[ADAStep] = ("blit", "geometry", "colour"),
        target: Annotated[float, Field(ge=-1, le=1)] = 0.6,
        interval: PositiveInt = 4,
        ramp_images: PositiveInt = 10_000,
        max_probability: Annotated[float, Field(ge=0, le=1)] = 0.8,
    ) -> None:
        super().__init__()
        require_steps(policy, get_args(ADAStep))
        if not -1 <= target <= 1:
            raise ValueError(f"target must be a mean of signs from -1 to 1, got {target}")
        for name, value in (("interval", interval), ("ramp_images", ramp_images)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0 <= max_probability <= 1:
            raise ValueError(f"max_probability must be from 0 to 1, got {max_probability}")
        self.policy = tuple(policy)
        self.target = target
        self.interval = interval
        self.ramp_images = ramp_images
        self.max_probability = max_probability
        for name in ("probability", "certainty", "_signs", "_images", "_steps"):
            self.register_buffer(name, torch.zeros(()))

    def augment(self, images: Tensor, condition_channels: int) -> Tensor:
        draws = Draws(len(images), self.probability, images)
        inverse = torch.eye(3, dtype=images.dtype, device=images.device).expand(len(images), 3, 3)
        for step, draw in (("blit", blit), ("geometry", geometry)):
            if step in self.policy:
                inverse = inverse @ draw(draws, *images.shape[2:])
        if "blit" in self.policy or "geometry" in self.policy:
            images = transform(images, inverse)
        if "colour" in self.policy:
            judged = images[:, condition_channels:]
            images = change_judged(images, condition_channels, _recoloured(judged, draws))
        return images

    @torch.no_grad()
    def observe(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> None:
        signs = torch.stack([logits.sign().mean() for logits in real]).mean() * len(real[0])
        seen = torch.stack([signs.to(self.probability), torch.full_like(self.probability, len(real[0]))])
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(seen)
        self._signs += seen[0]
        self._images += seen[1]
        self._steps += 1
        due = self._steps >= self.interval
        certainty = self._signs / self._images
        moved = self.probability + (certainty - self.target).sign() * self._images / self.ramp_images
        self.probability.copy_(torch.where(due, moved.clamp(0, self.max_probability), self.probability))
        self.certainty.copy_(torch.where(due, certainty, self.certainty))
        for buffer in (self._signs, self._images, self._steps):
            buffer.mul_(~due)

    def figures(self) -> Mapping[str, Tensor]:
        return {"probability": self.probability, "certainty": self.certainty}

    def extra_repr(self) -> str:
        return f"policy={list(self.policy)}, target={self.target}"


def _recoloured(images: Tensor, draws: Draws) -> Tensor:
    """Images, B C H W, in other colours; of other than three channels only brightness and contrast change."""
    if images.shape[1] != 3:
        contrast, brightness = (value[:, None, None, None] for value in luma(draws))
        return images * contrast + brightness
    matrix, offset = colour(draws)
    return torch.einsum("nij,njhw->nihw", matrix, images) + offset[:, :, None, None]
