"""Pictures of the first images of a validation or test, which are the same every time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from pydantic import PositiveInt
from torch import Tensor

from patchlight.data.images import write_image
from patchlight.loggers import log_pictures
from patchlight.methods import TranslationMethod
from patchlight.methods.state import gather
from patchlight.pictures import contact_sheet

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

    @abstractmethod
    def keep(self, method: TranslationMethod, images: Mapping[str, Tensor]) -> Kept:
        """What is needed of a batch, given what `translate` made of it: tensors of one row per image."""

    @abstractmethod
    def show(self, trainer: Trainer, method: TranslationMethod, kept: list[Kept]) -> None:
        """Write and log the pictures of these images; called by the first rank, with the folder made."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._n_seen = 0
        self._kept = {}

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
        return images

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
            _write_each(images, self.folder / "samples", number)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self.on_test_batch_end(trainer, pl_module, outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_test_epoch_end(trainer, pl_module)


def _write_each(images: Mapping[str, Tensor], folder: Path, number: int) -> None:
    """Write the images of one row as files of their own, `<number>_<name>.png`."""
    for name, image in images.items():
        write_image(folder / f"{number:02d}_{name}.png", image)
