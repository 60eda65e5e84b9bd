"""The first images of an evaluation, as a picture and one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from patchlight.data.images import write_image
from patchlight.methods import TranslationMethod
from patchlight.pictures import contact_sheet


class FirstImages(Callback):
    """Writes the first `n_images` images of a test or validation of one process: `samples.png` and `samples/`.

    The picture has one row per image and the method's `gallery` as columns, as the samples of a training.
    """

    def __init__(self, folder: Path, n_images: int) -> None:
        self.folder = folder
        self.n_images = n_images
        self._kept: list[dict[str, Tensor]] = []

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        for i in range(min(len(outputs["real_A"]), self.n_images - len(self._kept))):
            self._kept.append({name: images[i].float().cpu() for name, images in outputs.items()})

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TranslationMethod)
        if not self._kept:
            return
        contact_sheet(self._kept, pl_module.gallery).save(self.folder / "samples.png")
        (self.folder / "samples").mkdir(exist_ok=True)
        for number, images in enumerate(self._kept):
            for name, image in images.items():
                write_image(self.folder / "samples" / f"{number:02d}_{name}.png", image)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self.on_test_batch_end(trainer, pl_module, outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_test_epoch_end(trainer, pl_module)
