"""Small checkpoints, as a training would leave them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from patchlight.build import build_method, data_channels
from patchlight.checkpoint import make_record
from patchlight.config.compose import compose_config
from patchlight.methods import TranslationMethod

Make = Callable[..., tuple[Path, TranslationMethod]]

SMALL = {
    "pix2pix": ["data=paired", "model/generator=unet_128", "model.generator.num_downs=5", "model.generator.ngf=8"],
    "cyclegan": ["data=unpaired", "model/generator=resnet_6", "model.generator.n_blocks=1", "model.generator.ngf=8"],
}


@cache
def composed(*overrides: str) -> DictConfig:
    """The configuration of a command line, which is not changed."""
    return compose_config("train", overrides)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a checkpoint of a small model, and the method that is in it."""

    def write(model: str, *overrides: str, ema: bool = False) -> tuple[Path, TranslationMethod]:
        given = [f"model={model}", "data.root=somewhere", "model.discriminator.ndf=4", *SMALL[model], *overrides]
        cfg = composed(*given)
        torch.manual_seed(1)
        method = build_method(cfg.model, data_channels(cfg.data))
        with torch.no_grad():
            for name, value in [*method.named_parameters(), *method.named_buffers()]:
                if "running_var" in name:
                    value.uniform_(0.5, 2)
                elif value.is_floating_point():
                    value.add_(torch.randn_like(value) * 0.05)
        config: dict[str, Any] = {key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("model", "data")}
        checkpoint: dict[str, Any] = {"state_dict": method.state_dict(), "patchlight": make_record(config)}
        if ema:
            checkpoint["ema"] = {
                name: value * 0.5 if value.is_floating_point() else value
                for name, value in method.state_dict().items()
                if name.startswith("generator")
            }
        path = tmp_path / f"{model}.ckpt"
        torch.save(checkpoint, path)
        return path, method

    return write


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """Makes an RGB image of smooth colours, different for each seed."""

    def draw(width: int, height: int, seed: int = 0) -> Image.Image:
        noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)

    return draw
