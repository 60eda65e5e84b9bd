"""An augmentation in front of the discriminator: flips, as often as the discriminator overfits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import PositiveFloat
from torch import Tensor, distributed

from patchlight.losses import AdaptiveAugment


class AdaptiveFlip(AdaptiveAugment):
    """Mirrors each image, real or generated, with a probability that rises while real patches are told too easily.

    Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", section 3.1.
    """

    probability: Tensor

    def __init__(self, target: float = 0.6, speed: PositiveFloat = 0.01) -> None:
        super().__init__()
        self.target = target
        self.speed = speed
        self.register_buffer("probability", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        flipped = torch.rand(len(images), 1, 1, 1, device=images.device) < self.probability
        return torch.where(flipped, images.flip(-1), images)

    def observe(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> None:
        certainty = torch.stack([logits.float().sign().mean() for logits in real]).mean()
        if distributed.is_initialized():  # so that all ranks keep one probability
            distributed.all_reduce(certainty)
            certainty = certainty / distributed.get_world_size()
        step = self.speed * (certainty - self.target).sign()
        self.probability.add_(step).clamp_(0, 0.8)
