"""What the discriminators see: heat maps and score histograms after every validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from patchlight.callbacks.first_images import FirstImages
from patchlight.callbacks.samples import LATEST
from patchlight.loggers import log_histograms, log_pictures
from patchlight.methods import TranslationMethod
from patchlight.networks import patch_grid
from patchlight.pictures import PatchView, overlay, patch_map_figure
from patchlight.pictures.patch_map import Scale


class PatchMaps(Callback):
    """Writes for each discriminator a picture of its patch maps on the first validation images, real and generated.

    Under it stand the histograms of the logits of the first `n_scored` images; a square shows the receptive field.
    Files are named `step_<batches>_<discriminator>.png`; the newest heat maps also lie one by one in `latest/`. The
    discriminators judge as in training, with the statistics of the batch.

    Raises:
        ValueError: a number below 1, or fewer scored than shown.
    """

    def __init__(self, folder: str | Path, n_images: int = 3, n_scored: int = 16, every_n_validations: int = 1) -> None:
        if n_images < 1 or every_n_validations < 1:
            raise ValueError(
                f"n_images and every_n_validations must be at least 1, got {n_images} and {every_n_validations}"
            )
        if n_scored < n_images:
            raise ValueError(f"n_scored must be at least n_images={n_images}, got {n_scored}")
        self.folder = Path(folder)
        self.n_images = n_images
        self.every_n_validations = every_n_validations
        self._first = FirstImages(n_scored)
        self._validations = 0

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first.clear()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        assert isinstance(pl_module, TranslationMethod)
        due = self._validations % self.every_n_validations == 0
        if not due or not self._first.wants(trainer, batch_idx, len(outputs["real_A"])):
            return
        kept: dict[str, Tensor] = {name: outputs[name] for pair in pl_module.judged.values() for name in pair}
        for name, (real, fake) in pl_module.judge(outputs).items():
            kept |= {f"{name}_real": real[:, 0], f"{name}_fake": fake[:, 0]}
        self._first.add(trainer, batch_idx, kept)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TranslationMethod)
        self._validations += 1
        if trainer.sanity_checking or (self._validations - 1) % self.every_n_validations:
            return
        kept = self._first.gathered()
        if not kept or not trainer.is_global_zero:
            return
        (self.folder / LATEST).mkdir(parents=True, exist_ok=True)
        for name in pl_module.judged:
            self._show(trainer, pl_module, name, kept)

    def _show(self, trainer: Trainer, method: TranslationMethod, name: str, kept: list[dict[str, Tensor]]) -> None:
        """The picture, single heat maps and histograms of one discriminator."""
        real, fake = method.judged[name]
        step, seen = trainer.global_step, method.images_seen
        views = [PatchView(k[real], k[fake], k[f"{name}_real"], k[f"{name}_fake"]) for k in kept]
        scores = torch.cat([v.logits_real.ravel() for v in views]), torch.cat([v.logits_fake.ravel() for v in views])
        grid, boundary = patch_grid(method.get_submodule(name)), method.boundary
        title = f"{name.replace('_', ' ')} after {step} batches"
        picture = patch_map_figure(views[: self.n_images], grid, boundary, scores, title)
        picture.save(self.folder / f"step_{step:08d}_{name}.png")
        scale = Scale.of([logits for v in views for logits in (v.logits_real, v.logits_fake)], boundary)
        for number, view in enumerate(views[: self.n_images]):
            for kind, image, logits in (("real", view.real, view.logits_real), ("fake", view.fake, view.logits_fake)):
                overlay(image, logits, grid, scale).save(self.folder / LATEST / f"{number:02d}_{name}_{kind}.png")
        log_pictures(trainer.loggers, {f"patch_maps/{name}": picture}, step, seen)
        histograms = {f"scores/{name}_real": scores[0], f"scores/{name}_fake": scores[1]}
        log_histograms(trainer.loggers, histograms, step, seen)

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validations = state_dict["validations"]
