"""Small checkpoints for the page, as a training would leave them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from small_models import write_checkpoint

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes a checkpoint of a small model below the test's folder."""

    def write(name: str, model: str = "pix2pix", *overrides: str, ema: bool = False) -> Path:
        small = ("model.discriminator.n_layers=1", "data.image_size=64", "data.load_size=64")
        write_checkpoint(tmp_path / name, model, "data.root=sets/some", *small, *overrides, ema=ema)
        return tmp_path / name

    return write
