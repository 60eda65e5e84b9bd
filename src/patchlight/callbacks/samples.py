"""Sample pictures: the same images after every validation, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from patchlight.data.image_io import to_uint8
from patchlight.methods import TranslationMethod
from patchlight.methods.rank_state import gather

MARGIN, GAP, MIN_CELL = 16, 8, 128
INK, PAPER = (38, 42, 51), (255, 255, 255)


class Samples(Callback):
    """Writes a picture of the first validation images, and shows it to W&B.

    One row per image, one column per entry of the method's `gallery`: input, output, target for pix2pix; input, output,
    reconstruction for both directions of CycleGAN. Files are named `step_<batches>.png`.
    """

    def __init__(self, folder: str | Path, n_images: int = 4, every_n_validations: int = 1) -> None:
        if n_images < 1 or every_n_validations < 1:
            raise ValueError(
                f"n_images and every_n_validations must be at least 1, got {n_images} and {every_n_validations}"
            )
        self.folder = Path(folder)
        self.n_images = n_images
        self.every_n_validations = every_n_validations
        self._validations = 0
        self._images: dict[int, Mapping[str, Tensor]] = {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._images = {}

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        size = len(outputs["real_A"])
        for i in range(size):
            # Ranks take the images in turn.
            number = (batch_idx * size + i) * trainer.world_size + trainer.global_rank
            if number < self.n_images:
                self._images[number] = {name: images[i].float().cpu() for name, images in outputs.items()}

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validations += 1
        if trainer.sanity_checking or (self._validations - 1) % self.every_n_validations:
            return
        images = {number: image for part in gather(self._images) for number, image in part.items()}
        if not images or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, TranslationMethod)
        picture = contact_sheet([images[number] for number in sorted(images)], pl_module.gallery)
        self.folder.mkdir(parents=True, exist_ok=True)
        picture.save(self.folder / f"step_{trainer.global_step:08d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("samples", [picture], step=trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validations = state_dict["validations"]


def contact_sheet(rows: Sequence[Mapping[str, Tensor]], gallery: Sequence[Sequence[tuple[str, str]]]) -> Image.Image:
    """A picture of images by name, each C H W in [-1, 1].

    `gallery` holds one block of columns per direction, each column an image's name and its title; the blocks stand
    side by side with a wider gap between them.
    """
    scale = max(1, -(-MIN_CELL // max(rows[0][name].shape[-1] for block in gallery for name, _ in block)))
    cells = [[[_to_image(row[name], scale) for name, _ in block] for block in gallery] for row in rows]
    width = max(cell.width for row in cells for block in row for cell in block)
    heights = [max(cell.height for block in row for cell in block) for row in cells]
    font_size = max(13, width // 12)
    font = ImageFont.load_default(size=font_size)
    header = int(font_size * 1.9)
    n_columns = sum(len(block) for block in gallery)
    sheet_width = 2 * MARGIN + n_columns * width + (n_columns - len(gallery)) * GAP + (len(gallery) - 1) * 3 * GAP
    sheet_height = MARGIN + header + sum(heights) + (len(rows) - 1) * GAP + MARGIN
    sheet = Image.new("RGB", (sheet_width, sheet_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    x = MARGIN
    for b, block in enumerate(gallery):
        for c, (_, title) in enumerate(block):
            draw.text((x + width / 2, MARGIN + header * 0.35), title, fill=INK, font=font, anchor="mm")
            y = MARGIN + header
            for row, height in zip(cells, heights, strict=True):
                sheet.paste(row[b][c], (x, y))
                y += height + GAP
            x += width + GAP
        x += 2 * GAP
    return sheet


def _to_image(image: Tensor, scale: int) -> Image.Image:
    array = to_uint8(image)
    picture = Image.fromarray(np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[:, :, :3])
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
