"""Sample pictures: the same images after every validation, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch import Trainer
from pydantic import PositiveInt
from torch import Tensor

from patchlight.callbacks.validation_pictures import LATEST, Kept, ValidationPictures
from patchlight.data.images import write_image
from patchlight.loggers import log_pictures
from patchlight.methods import TranslationMethod
from patchlight.pictures import contact_sheet


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
        return images

    def show(self, trainer: Trainer, method: TranslationMethod, kept: list[Kept]) -> None:
        picture = contact_sheet(kept, method.gallery)
        picture.save(self.folder / f"step_{trainer.global_step:08d}.png")
        for number, images in enumerate(kept):
            for name, image in images.items():
                write_image(self.folder / LATEST / f"{number:02d}_{name}.png", image)
        log_pictures(trainer.loggers, {"samples": picture}, trainer.global_step, method.images_seen)
