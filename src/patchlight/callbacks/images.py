"""Pictures of the first images of a validation or test, which are the same every time: samples and patch maps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from pydantic import PositiveInt
from torch import Tensor

from patchlight.data.content import Content
from patchlight.data.contents import drawn
from patchlight.data.contract import contents_in
from patchlight.data.images import write_image
from patchlight.data.labels import drawable
from patchlight.loggers import log_histograms, log_pictures
from patchlight.methods import TranslationMethod
from patchlight.methods.state import gather
from patchlight.networks import Discriminator, PatchGrid, map_suffixes
from patchlight.pictures import PatchView, Scale, contact_sheet, overlay, patch_map_figure
from patchlight.system.files import write_json

LATEST = "latest"
"""The folder of the newest pictures, one file per image."""

Kept = Mapping[str, Tensor]
"""What is kept of one image, by name, on the CPU."""


class ValidationPictures(Callback):
    """Keeps what a picture needs of the first `n_kept` images, of all ranks, in every n-th validation, and shows it.

    Raises:
        ValueError: a number below 1.
    """

    def __init__(self, folder: str | Path, n_images: int, n_kept: int, every_n_validations: int) -> None:
        if n_images < 1 or every_n_validations < 1:
            raise ValueError(
                f"n_images and every_n_validations must be at least 1, got {n_images} and {every_n_validations}"
            )
        self.folder = Path(folder)
        self.n_images = n_images
        self.n_kept = n_kept
        self.every_n_validations = every_n_validations
        self._validations = 0
        self._n_seen = 0
        self._kept: dict[int, Kept] = {}
        self.contents: Mapping[str, Content] = {}
        """What the images of the domains hold."""

    @abstractmethod
    def keep(self, method: TranslationMethod, images: Mapping[str, Tensor]) -> Kept:
        """What is needed of a batch, given what `translate` made of it: tensors of one row per image."""

    @abstractmethod
    def show(self, trainer: Trainer, method: TranslationMethod, kept: list[Kept]) -> None:
        """Write and log the pictures of these images; called by the first rank, with the folder made."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._n_seen = 0
        self._kept = {}
        self.contents = contents_in(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        assert isinstance(pl_module, TranslationMethod)
        size = len(outputs["real_A"])
        # Ranks take the images in turn; the last batch may be smaller than those before it.
        numbers = [(self._n_seen + i) * trainer.world_size + trainer.global_rank for i in range(size)]
        self._n_seen += size
        if self._validations % self.every_n_validations or numbers[0] >= self.n_kept:
            return
        found = {name: values.float().cpu() for name, values in self.keep(pl_module, outputs).items()}
        for i, number in enumerate(numbers):
            if number < self.n_kept:
                self._kept[number] = {name: values[i] for name, values in found.items()}

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TranslationMethod)
        due = self._validations % self.every_n_validations == 0 and not trainer.sanity_checking
        self._validations += 1
        if not due:
            return
        combined = {number: kept for part in gather(self._kept) for number, kept in part.items()}
        self._kept = {}
        if combined and trainer.is_global_zero:
            (self.folder / LATEST).mkdir(parents=True, exist_ok=True)
            self.show(trainer, pl_module, [combined[number] for number in sorted(combined)])

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validations = state_dict["validations"]


class Samples(ValidationPictures):
    """Writes a picture of the first validation images, and shows it to W&B and TensorBoard.

    One row per image, one column per entry of the method's `gallery`: input, output, target for pix2pix; input, output,
    reconstruction for both directions of CycleGAN. Files are named `step_<batches>.png`. The newest images also lie one
    by one in `latest/`, as `<number>_<name>.png`.

    Raises:
        ValueError: a number below 1.
    """

    def __init__(self, folder: str | Path, n_images: PositiveInt = 4, every_n_validations: PositiveInt = 1) -> None:
        super().__init__(folder, n_images, n_kept=n_images, every_n_validations=every_n_validations)

    def keep(self, method: TranslationMethod, images: Mapping[str, Tensor]) -> Kept:
        return drawn(images, self.contents)

    def show(self, trainer: Trainer, method: TranslationMethod, kept: list[Kept]) -> None:
        picture = contact_sheet(kept, method.gallery)
        picture.save(self.folder / f"step_{trainer.global_step:08d}.png")
        for number, images in enumerate(kept):
            _write_each(images, self.folder / LATEST, number)
        log_pictures(trainer.loggers, {"samples": picture}, trainer.global_step, method.images_seen)


class FirstImages(Callback):
    """Writes the first `n_images` images of a test or validation of one process: `samples.png` and `samples/`.

    The picture has one row per image and the method's `gallery` as columns, as the samples of a training.
    """

    def __init__(self, folder: Path, n_images: int) -> None:
        self.folder = folder
        self.n_images = n_images
        self._kept: list[dict[str, Tensor]] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        n = min(len(outputs["real_A"]), self.n_images - len(self._kept))
        pictures = drawn({name: images[:n] for name, images in outputs.items()}, contents_in(trainer)) if n else {}
        for i in range(n):
            self._kept.append({name: images[i].float().cpu() for name, images in pictures.items()})

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TranslationMethod)
        if not self._kept:
            return
        contact_sheet(self._kept, pl_module.gallery).save(self.folder / "samples.png")
        (self.folder / "samples").mkdir(exist_ok=True)
        for number, images in enumerate(self._kept):
            _write_each(images, self.folder / "samples", number)

    on_validation_batch_end = on_test_batch_end
    on_validation_epoch_end = on_test_epoch_end


def _write_each(images: Mapping[str, Tensor], folder: Path, number: int) -> None:
    """Write the images of one row as files of their own, `<number>_<name>.png`."""
    for name, image in images.items():
        write_image(folder / f"{number:02d}_{name}.png", drawable(image))


class PatchMaps(ValidationPictures):
    """Writes for each discriminator a picture of its patch maps on the first validation images, real and generated.

    Under it stand the histograms of the logits of the first `n_scored` images; a square shows the receptive field.
    Files are named `step_<batches>_<discriminator>.png`, of a discriminator with several scales one for each,
    `step_<batches>_<discriminator>_scale1.png` and so on; the newest heat maps also lie one by one in `latest/`, and
    in `latest/colours.json` for each map the logit that is white, and how far from it the colours are full. The
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
        pictures = drawn(images, self.contents)
        kept = {name: pictures[name] for pair in method.score_targets.values() for name in pair}
        for name, pair in method.score_pairs(images).items():
            for kind, maps in zip(("real", "fake"), pair, strict=True):
                for suffix, logits in zip(map_suffixes(len(maps)), maps, strict=True):
                    kept[f"{name}{suffix}_{kind}"] = logits[:, 0]
        return kept

    def show(self, trainer: Trainer, method: TranslationMethod, kept: list[Kept]) -> None:
        scales: dict[str, Scale] = {}
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
                scales[own] = self._show_one(trainer, method, own, views)
        colours = {name: {"white": scale.boundary, "full": scale.reach} for name, scale in scales.items()}
        write_json(self.folder / LATEST / "colours.json", colours)

    def _show_one(self, trainer: Trainer, method: TranslationMethod, name: str, views: list[PatchView]) -> Scale:
        """Write the picture, single heat maps and histograms of one map; their colour scale."""
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
        return scale
