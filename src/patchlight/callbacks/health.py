"""Whether the two sides of a GAN still learn from each other, seen from figures that cost next to nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from patchlight.callbacks.alarms import Alarms
from patchlight.callbacks.overfitting import HeldOutLogits
from patchlight.loggers import alert
from patchlight.losses import AdaptiveAugment
from patchlight.methods import TranslationMethod
from patchlight.networks import Maps, map_suffixes
from patchlight.system.console import say
from patchlight.system.files import write_json

ALARMS = "alarms.json"

SATURATED = 0.99
"""Beyond this share of its range a generator's tanh hardly passes gradients."""

THUMBNAIL = 8
"""Pixels: images are compared at this size where their variety is measured."""


class Health(Callback):
    """Logs figures of the adversarial game under `health/`, and says in a sentence when one is not normal.

    Whenever the trainer logs, of the batch at hand: `d_acc_real`, `d_acc_fake` and their mean `d_acc` (share of patches
    judged right), `d_logit_real`, `d_logit_fake`, `grad_<network>` (before clipping), `grad_ratio` (generators over
    discriminators), `saturation` (share of generated values at the ends of the range, beyond that of real ones),
    `variety` (spread of the last `n_images` generated images over that of the real ones) and `pool_age_a`, `pool_age_b`
    (mean age of an image pool's images, in sizes of the pool). For CycleGAN figures of a discriminator end in its
    domain, `_a` or `_b`; of one with several scales they are means over them, and `d_acc_scale1` and so on is added.
    Nothing is computed twice: these figures are made of what the step has left. An augmentation that adapts itself adds
    its own, `augment_probability` and so on.

    After a validation there are `d_logit_seen`, `d_logit_held_out` and `d_overfit`, see `HeldOutLogits`. For them a few
    real images of the batches at which the trainer logs are scored, and those of the validation.

    Alarms are printed, shown to W&B and TensorBoard, and kept in `folder`/alarms.json. They look at means over `window`
    observations.

    Raises:
        ValueError: a number below 1, or fewer than two images to compare.
    """

    def __init__(
        self, folder: str | Path, window: PositiveInt = 20, n_images: Annotated[int, Field(ge=2)] = 32
    ) -> None:
        if window < 1:
            raise ValueError(f"window must be at least 1, got {window}")
        if n_images < 2:
            raise ValueError(f"n_images must be at least 2, got {n_images}")
        self.folder = Path(folder)
        self.n_images = n_images
        self.alarms = Alarms(window)
        self._held_out = HeldOutLogits(window)
        self._thumbnails: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        path = self.folder / ALARMS
        if trainer.is_global_zero and path.is_file():
            write_json(path, self.alarms.raised)  # without those of a part of the run that is going to be repeated

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TranslationMethod)
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it, undeclared
        if not every or pl_module.global_step % every:
            return
        figures = self._figures(pl_module)
        if not figures:
            return
        seen = self._held_out.of_training(pl_module, batch) if pl_module.last_step.logits else {}
        stacked = torch.stack([*seen.values(), *figures.values()])
        if trainer.world_size > 1:
            stacked = trainer.strategy.reduce(stacked, reduce_op="mean")
        # The one moment at which the host waits for the device; the loggers would make it wait now, too.
        numbers = stacked.tolist()
        self._held_out.remember(dict(zip(seen, numbers, strict=False)))
        values = dict(zip(figures, numbers[len(seen) :], strict=True))
        pl_module.log_dict({f"health/{name}": value for name, value in values.items()})
        self._watch(trainer, values, pl_module.global_step)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._held_out.begin()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        assert isinstance(pl_module, TranslationMethod)
        if trainer.state.fn == TrainerFn.FITTING:
            self._held_out.add(pl_module, outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TranslationMethod)
        values = self._held_out.figures(trainer, pl_module)
        # The same on all ranks already; `sync_dist` only says so to Lightning.
        pl_module.log_dict({f"health/{name}": value for name, value in values.items()}, sync_dist=True)
        self._watch(trainer, values, pl_module.global_step)

    def _watch(self, trainer: Trainer, values: Mapping[str, float], step: int) -> None:
        for alarm in self.alarms.observe(values, step):
            if trainer.is_global_zero:
                self._raise(trainer, alarm)

    def _raise(self, trainer: Trainer, alarm: dict[str, Any]) -> None:
        say(f"batch {alarm['step']}: {alarm['message']}", error=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / ALARMS, self.alarms.raised)
        alert(trainer.loggers, f"{alarm['figure']} is not normal", f"Batch {alarm['step']}: {alarm['message']}")

    def _figures(self, method: TranslationMethod) -> dict[str, Tensor]:
        """The figures of the last step, as scalars on its device."""
        seen = method.last_step
        generators, discriminators = list(method.modules_of("generator")), list(method.modules_of("discriminator"))
        figures: dict[str, Tensor] = {}
        for name in discriminators:
            suffix = name.removeprefix("discriminator")
            if name in seen.logits:
                found = discriminator_figures(*seen.logits[name], method.boundary)
                figures |= {f"{key}{suffix}": value for key, value in found.items()}
            real, fake = method.score_targets[name]
            if fake in seen.images:
                figures[f"saturation{suffix}"] = saturation(seen.images[fake], seen.images[real])
                self._remember(method, (real, fake))
                if len(self._thumbnails[fake]) >= self.n_images:
                    figures[f"variety{suffix}"] = variety(self._thumbnails[fake], self._thumbnails[real])
        figures |= gradient_figures(seen.gradient_norms, generators, discriminators)
        for letter, pool in method.pools.items():
            if pool.pool_size:
                figures[f"pool_age_{letter}"] = torch.tensor(pool.mean_age / pool.pool_size, device=method.device)
        for augment in (module for module in method.modules() if isinstance(module, AdaptiveAugment)):
            figures |= {f"augment_{name}": value.float() for name, value in augment.figures().items()}
        return figures

    def _remember(self, method: TranslationMethod, names: tuple[str, str]) -> None:
        """Keep the thumbnails of the newest images of all ranks, so that every rank knows the same."""
        for name in names:
            new = thumbnails(method.last_step.images[name])
            if method.trainer.world_size > 1:
                gathered = method.all_gather(new)
                assert isinstance(gathered, Tensor)
                new = gathered.flatten(0, 1)
            old = self._thumbnails.get(name)
            combined = new if old is None else torch.cat([old.to(new.device), new])
            self._thumbnails[name] = combined[-self.n_images :]

    def state_dict(self) -> dict[str, Any]:
        kept = {name: images.cpu() for name, images in self._thumbnails.items()}
        return {"alarms": self.alarms.state_dict(), "thumbnails": kept, "held_out": self._held_out.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.alarms.load_state_dict(state_dict["alarms"])
        self._thumbnails = dict(state_dict["thumbnails"])
        self._held_out.load_state_dict(state_dict.get("held_out", {}))  # checkpoints of before have none


def discriminator_figures(maps_real: Maps, maps_fake: Maps, boundary: float | None) -> dict[str, Tensor]:
    """Accuracy over the patches of real and of generated images with its mean, and the mean logits of both.

    Of several scales each counts the same, however many patches it has, and has an accuracy of its own, `d_acc_scale1`
    and so on. Without a boundary the middle between the two mean logits of a map stands for it.
    """
    each = [_figures_of_map(real, fake, boundary) for real, fake in zip(maps_real, maps_fake, strict=True)]
    figures = {name: torch.stack([found[name] for found in each]).mean() for name in each[0]}
    own = {f"d_acc{suffix}": found["d_acc"] for suffix, found in zip(map_suffixes(len(each)), each, strict=True)}
    return figures | own


def _figures_of_map(logits_real: Tensor, logits_fake: Tensor, boundary: float | None) -> dict[str, Tensor]:
    real, fake = logits_real.float(), logits_fake.float()
    mean_real, mean_fake = real.mean(), fake.mean()
    threshold = (mean_real + mean_fake) / 2 if boundary is None else mean_real.new_tensor(boundary)
    right_real, right_fake = (real > threshold).float().mean(), (fake < threshold).float().mean()
    return {
        "d_acc_real": right_real,
        "d_acc_fake": right_fake,
        "d_logit_real": mean_real,
        "d_logit_fake": mean_fake,
        "d_acc": (right_real + right_fake) / 2,
    }


def gradient_figures(
    norms: Mapping[str, Tensor], generators: Sequence[str], discriminators: Sequence[str]
) -> dict[str, Tensor]:
    """The norm of each network's gradient, and the generators' over the discriminators' as one number."""
    figures = {f"grad_{name}": norm.float() for name, norm in norms.items()}
    if all(name in norms for name in (*generators, *discriminators)):
        g, d = (torch.stack([norms[n].float() for n in names]).norm() for names in (generators, discriminators))
        figures["grad_ratio"] = g / d.clamp_min(torch.finfo(d.dtype).tiny)
    return figures


def saturation(fake: Tensor, real: Tensor) -> Tensor:
    """By how much the share of values at the ends of the range is larger in generated than in real images.

    Images are B C H W in [-1, 1]. White paper and black frames of the real ones are not held against the generator.
    """
    share_fake, share_real = ((images.abs() > SATURATED).float().mean() for images in (fake, real))
    return (share_fake - share_real).clamp_min(0)


def thumbnails(images: Tensor) -> Tensor:
    """Images B C H W as B C 8 8, in float32."""
    return adaptive_avg_pool2d(images.detach().float(), THUMBNAIL)


def variety(fake: Tensor, real: Tensor) -> Tensor:
    """How much generated thumbnails, N C 8 8, differ from one another, as a share of how much real ones do.

    The standard deviation over the images, mean over places and colours. A generator that has collapsed makes the same
    of everything, and this is near 0.
    """
    spread_fake, spread_real = (x.std(dim=0, correction=0).mean() for x in (fake, real))
    return spread_fake / spread_real.clamp_min(torch.finfo(spread_real.dtype).eps)
