"""Sample pictures: the same images after every validation, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from patchlight.callbacks.first_images import FirstImages
from patchlight.data.image_io import write_image
from patchlight.loggers import log_pictures
from patchlight.methods import TranslationMethod
from patchlight.pictures import contact_sheet

LATEST = "latest"
"""The folder of the newest samples, one file per image."""


class Samples(Callback):
    """Writes a picture of the first validation images, and shows it to W&B and TensorBoard.

    One row per image, one column per entry of the method's `gallery`: input, output, target for pix2pix; input, output,
    reconstruction for both directions of CycleGAN. Files are named `step_<batches>.png`. The newest images also lie one
    by one in `latest/`, as `<number>_<name>.png`.

    Raises:
        ValueError: a number below 1.
    """

    def __init__(self, folder: str | Path, n_images: int = 4, every_n_validations: int = 1) -> None:
        if n_images < 1 or every_n_validations < 1:
            raise ValueError(
                f"n_images and every_n_validations must be at least 1, got {n_images} and {every_n_validations}"
            )
        self.folder = Path(folder)
        self.every_n_validations = every_n_validations
        self._first = FirstImages(n_images)
        self._validations = 0

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first.clear()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        self._first.add(trainer, batch_idx, outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TranslationMethod)
        self._validations += 1
        if trainer.sanity_checking or (self._validations - 1) % self.every_n_validations:
            return
        images = self._first.gathered()
        if not images or not trainer.is_global_zero:
            return
        picture = contact_sheet(images, pl_module.gallery)
        latest = self.folder / LATEST
        latest.mkdir(parents=True, exist_ok=True)
        picture.save(self.folder / f"step_{trainer.global_step:08d}.png")
        for number, named in enumerate(images):
            for name, image in named.items():
                write_image(latest / f"{number:02d}_{name}.png", image)
        log_pictures(trainer.loggers, {"samples": picture}, trainer.global_step, pl_module.images_seen)

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validations = state_dict["validations"]
