"""Small checkpoints, as a training would leave them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchlight.methods import TranslationMethod
from small_models import write_checkpoint

Make = Callable[..., tuple[Path, TranslationMethod]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a checkpoint of a small model, and the method that is in it."""

    def write(model: str, *overrides: str, ema: bool = False) -> tuple[Path, TranslationMethod]:
        path = tmp_path / f"{model}.ckpt"
        return path, write_checkpoint(path, model, *overrides, ema=ema, perturbed=True)

    return write


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """Makes an RGB image of smooth colours, different for each seed."""

    def draw(width: int, height: int, seed: int = 0) -> Image.Image:
        noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)

    return draw
