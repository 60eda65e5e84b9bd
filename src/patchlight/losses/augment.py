"""Augmentations in front of a discriminator: what they are told, and which of them follow its overfitting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class ConditionalAugment(nn.Module, ABC):
    """An augmentation that knows the condition beside the images that a discriminator judges.

    The first `condition_channels` of its images are the discriminator's condition, such as pix2pix's input, and the
    others the judged image. What moves pixels moves all channels alike, so that a pair stays a pair. Colours change in
    the judged image only: the condition may be a label map, whose values are classes, and it is the same for real and
    generated images. Values are computed in float32 or more, also under autocast.
    """

    def forward(self, images: Tensor, condition_channels: int = 0) -> Tensor:
        """Images B C H W in [-1, 1] to images of the same shape and type, each with a draw of its own."""
        with torch.autocast(images.device.type, enabled=False):
            seen = images.to(torch.promote_types(images.dtype, torch.float32))
            return self.augment(seen, condition_channels).to(images.dtype)

    @abstractmethod
    def augment(self, images: Tensor, condition_channels: int) -> Tensor:
        """The augmentation itself, of differentiable operations."""


class AdaptiveAugment(nn.Module, ABC):
    """An augmentation in front of the discriminators that follows how well they tell real from fake.

    Its state is in its buffers, which checkpoints hold.

    Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", section 3.1, for the idea.
    """

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Images B C H W in [-1, 1] to images of the same shape, differentiably."""

    @abstractmethod
    def observe(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> None:
        """Take in the maps of a discriminator's step, detached, in float32 or more; each rank has its own images'.

        A patch counts as real above 0: the objective's threshold is taken off the logits, or the middle between the
        mean logits of real and of generated patches, where they have a meaning in comparison only.
        """

    def figures(self) -> Mapping[str, Tensor]:
        """Scalars that say how strong it is, the same on all ranks, to be logged as `health/augment_<name>`."""
        return {}


def change_judged(images: Tensor, condition_channels: int, changed: Tensor) -> Tensor:
    """Images with their condition as it is, and `changed` in place of the judged image."""
    return torch.cat([images[:, :condition_channels], changed], dim=1) if condition_channels else changed
