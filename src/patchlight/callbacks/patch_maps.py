"""What the discriminators see: heat maps and score histograms after every validation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from pydantic import PositiveInt
from torch import Tensor

from patchlight.callbacks.images import LATEST, Kept, ValidationPictures
from patchlight.loggers import log_histograms, log_pictures
from patchlight.methods import TranslationMethod
from patchlight.networks import Discriminator, PatchGrid, map_suffixes
from patchlight.pictures import PatchView, overlay, patch_map_figure
from patchlight.pictures.patch_map import Scale


class PatchMaps(ValidationPictures):
    """Writes for each discriminator a picture of its patch maps on the first validation images, real and generated.

    Under it stand the histograms of the logits of the first `n_scored` images; a square shows the receptive field.
    Files are named `step_<batches>_<discriminator>.png`, of a discriminator with several scales one for each,
    `step_<batches>_<discriminator>_scale1.png` and so on; the newest heat maps also lie one by one in `latest/`. The
    discriminators judge as in training, with the statistics of the batch.

    Raises:
        ValueError: a number below 1, or fewer scored than shown.
    """

    def __init__(
        self,
        folder: str | Path,
        n_images: PositiveInt = 3,
        n_scored: PositiveInt = 16,
        every_n_validations: PositiveInt = 1,
    ) -> None:
        super().__init__(folder, n_images, n_kept=n_scored, every_n_validations=every_n_validations)
        if n_scored < n_images:
            raise ValueError(f"n_scored must be at least n_images={n_images}, got {n_scored}")

    def keep(self, method: TranslationMethod, images: Mapping[str, Tensor]) -> Kept:
        kept = {name: images[name] for pair in method.score_targets.values() for name in pair}
        for name, pair in method.score_pairs(images).items():
            for kind, maps in zip(("real", "fake"), pair, strict=True):
                for suffix, logits in zip(map_suffixes(len(maps)), maps, strict=True):
                    kept[f"{name}{suffix}_{kind}"] = logits[:, 0]
        return kept

    def show(self, trainer: Trainer, method: TranslationMethod, kept: list[Kept]) -> None:
        for name, (real, fake) in method.score_targets.items():
            network = method.get_submodule(name)
            assert isinstance(network, Discriminator)
            # Images of a validation may have several sizes.
            grids: dict[torch.Size, tuple[PatchGrid, ...]] = {}
            for k in kept:
                size = k[real].shape[-2:]
                grids[size] = grids.get(size) or network.patch_grids(*size)
            for number, suffix in enumerate(map_suffixes(len(grids[size]))):
                own = name + suffix
                views = [
                    PatchView(k[real], k[fake], k[f"{own}_real"], k[f"{own}_fake"], grids[k[real].shape[-2:]][number])
                    for k in kept
                ]
                self._show_one(trainer, method, own, views)

    def _show_one(self, trainer: Trainer, method: TranslationMethod, name: str, views: list[PatchView]) -> None:
        """The picture, single heat maps and histograms of one map."""
        step, seen, boundary = trainer.global_step, method.images_seen, method.boundary
        scores = torch.cat([v.logits_real.ravel() for v in views]), torch.cat([v.logits_fake.ravel() for v in views])
        title = f"{name.replace('_', ' ')} after {step} batches"
        picture = patch_map_figure(views[: self.n_images], boundary, scores, title)
        picture.save(self.folder / f"step_{step:08d}_{name}.png")
        scale = Scale.of([logits for v in views for logits in (v.logits_real, v.logits_fake)], boundary)
        for number, view in enumerate(views[: self.n_images]):
            for kind, image, logits in (("real", view.real, view.logits_real), ("fake", view.fake, view.logits_fake)):
                heat_map = overlay(image, logits, view.grid, scale)
                heat_map.save(self.folder / LATEST / f"{number:02d}_{name}_{kind}.png")
        log_pictures(trainer.loggers, {f"patch_maps/{name}": picture}, step, seen)
        histograms = {f"scores/{name}_real": scores[0], f"scores/{name}_fake": scores[1]}
        log_histograms(trainer.loggers, histograms, step, seen)
