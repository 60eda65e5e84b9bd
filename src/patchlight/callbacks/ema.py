"""A moving average of networks' weights, which makes smoother images than the weights of any one step."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from pydantic import Field
from torch import Tensor

from patchlight.checkpoint import EMA_KEY
from patchlight.methods import TranslationMethod


class EMA(Callback):
    """Averages the generators after every batch: average <- decay * average + (1 - decay) * weights.

    A method's table of networks may choose others by `averaged`. The statistics of batch norm are averaged alike;
    counters are copied. With `warmup` the decay begins low and rises as (1 + t) / (10 + t) to its value, so that early
    weights are soon forgotten. Validation during training uses the averages, and both sets of weights are in every
    checkpoint.

    Raises:
        ValueError: a decay outside of (0, 1).

    Source: Yazici et al. 2019, "The Unusual Effectiveness of Averaging in GAN Training", equation 4.
    """

    def __init__(self, decay: Annotated[float, Field(gt=0, lt=1)] = 0.999, warmup: bool = True) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay must be between 0 and 1, got {decay}")
        self.decay = decay
        self.warmup = warmup
        self.batches = 0
        self.averages: dict[str, Tensor] = {}
        self._swapped = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        weights = averaged_state(pl_module)
        if not self.averages:
            self.averages = {name: value.clone() for name, value in weights.items()}
        self.averages = {name: value.to(weights[name].device) for name, value in self.averages.items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        decay = min(self.decay, (1 + self.batches) / (10 + self.batches)) if self.warmup else self.decay
        self.batches += 1
        weights = averaged_state(pl_module)
        floating = [name for name, value in weights.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self.averages[name] for name in floating], [weights[name] for name in floating], 1 - decay
        )
        for name in weights.keys() - set(floating):
            self.averages[name].copy_(weights[name])

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.averages and trainer.state.fn == "fit":
            self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._swapped:
            self._swap(pl_module)

    @torch.no_grad()
    def _swap(self, pl_module: LightningModule) -> None:
        """Exchange the values of weights and averages, in place, for whoever holds the tensors."""
        for name, value in averaged_state(pl_module).items():
            kept = value.clone()
            value.copy_(self.averages[name])
            self.averages[name].copy_(kept)
        self._swapped = not self._swapped

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        averages = averaged_state(pl_module) if self._swapped else self.averages
        checkpoint[EMA_KEY] = {name: value.clone() for name, value in averages.items()}
        checkpoint["ema_batches"] = self.batches

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # A run without averages is continued by one with them from its weights.
        self.averages = dict(checkpoint.get(EMA_KEY, {}))
        self.batches = checkpoint.get("ema_batches", 0)


def averaged_state(method: LightningModule) -> dict[str, Tensor]:
    """The weights and buffers of all networks to be averaged, by their names in the method's state."""
    assert isinstance(method, TranslationMethod)
    averaged = [name for name, spec in method.networks.items() if spec.averaged]
    return {
        f"{name}.{key}": value for name in averaged for key, value in method.get_submodule(name).state_dict().items()
    }
