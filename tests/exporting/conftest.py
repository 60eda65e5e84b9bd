"""Small checkpoints to export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from patchlight.methods import TranslationMethod
from small_models import write_checkpoint

Make = Callable[..., TranslationMethod]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Writes the checkpoint model.ckpt of a small model, whose weights are nothing special, to the present folder."""
    monkeypatch.chdir(tmp_path)

    def write(model: str, *overrides: str, ema: bool = False, name: str = "model.ckpt") -> TranslationMethod:
        return write_checkpoint(Path(name), model, "model.generator.ngf=4", *overrides, ema=ema, perturbed=True)

    return write
