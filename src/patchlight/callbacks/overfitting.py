"""How much a discriminator knows its training images by heart: its logits of them against those of held-out images."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from patchlight.methods import TranslationMethod
from patchlight.networks import Maps

MOST = 4
"""Training images of a batch that are scored."""


class HeldOutLogits:
    """Keeps the mean logits of real training images, and compares them with held-out images in a validation.

    Training images are scored after a step of the discriminator, and count for the last `window` observations. All
    images are scored one by one, as they are, without an augmentation.

    Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", equation 1.
    """

    def __init__(self, window: int) -> None:
        self._seen: dict[str, deque[float]] = {}
        self._window = window
        self._sums: dict[str, Tensor] = {}

    def of_training(self, method: TranslationMethod, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """The mean logit of the first real images of a training batch, by discriminator."""
        images = [{key: batch[key][i : i + 1] for key in "AB"} for i in range(min(len(batch["A"]), MOST))]
        found = [{name: _mean(maps) for name, maps in method.score_real(image).items()} for image in images]
        return {name: torch.stack([each[name] for each in found]).mean() for name in found[0]}

    def remember(self, logits: Mapping[str, float]) -> None:
        """Take in what `of_training` gave, as the mean over all ranks."""
        for name, value in logits.items():
            self._seen.setdefault(name, deque(maxlen=self._window)).append(value)

    def begin(self) -> None:
        """Begin with a validation."""
        self._sums = {}

    def add(self, method: TranslationMethod, images: Mapping[str, Tensor]) -> None:
        """Score the images of a validation, as `translate` names them."""
        if not self._seen:
            return  # before training there is nothing to compare with
        for i in range(len(next(iter(images.values())))):
            pairs = method.score_pairs({name: image[i : i + 1] for name, image in images.items()})
            for name, (real, fake) in pairs.items():
                values = torch.stack([_mean(real), _mean(fake), torch.ones_like(_mean(real))])
                self._sums[name] = self._sums[name] + values if name in self._sums else values

    def figures(self, trainer: Trainer, method: TranslationMethod) -> dict[str, float]:
        """By discriminator, whose name is left out but for its end, the figures of a validation on all ranks' images.

        `d_logit_seen` and `d_logit_held_out` are the mean logits of real images; `d_overfit` is the share of the way
        from the first to the mean logit of held-out generated images at which the second lies, from 0 to 1. It is left
        out where generated images have the higher logits, so that nothing can be told.
        """
        figures: dict[str, float] = {}
        for name, sums in self._sums.items():
            total = trainer.strategy.reduce(sums, reduce_op="sum") if trainer.world_size > 1 else sums
            real, fake, count = total.tolist()
            seen, held_out, generated = sum(self._seen[name]) / len(self._seen[name]), real / count, fake / count
            suffix = name.removeprefix("discriminator")
            figures |= {f"d_logit_seen{suffix}": seen, f"d_logit_held_out{suffix}": held_out}
            if seen > generated:
                figures[f"d_overfit{suffix}"] = min(max((seen - held_out) / (seen - generated), 0.0), 1.0)
        return figures

    def state_dict(self) -> dict[str, Any]:
        """What outlasts a validation, in plain types."""
        return {name: list(values) for name, values in self._seen.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seen = {name: deque(values, maxlen=self._window) for name, values in state.items()}


def _mean(maps: Maps) -> Tensor:
    """The mean logit, in which each scale counts the same."""
    return torch.stack([logits.float().mean() for logits in maps]).mean()
