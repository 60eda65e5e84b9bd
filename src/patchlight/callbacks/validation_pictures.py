"""Pictures of the first images of a validation, which are the same every time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from patchlight.methods import TranslationMethod
from patchlight.methods.state import gather

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
        together = {number: kept for part in gather(self._kept) for number, kept in part.items()}
        self._kept = {}
        if together and trainer.is_global_zero:
            (self.folder / LATEST).mkdir(parents=True, exist_ok=True)
            self.show(trainer, pl_module, [together[number] for number in sorted(together)])

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validations = state_dict["validations"]
