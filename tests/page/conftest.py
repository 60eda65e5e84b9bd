"""Small checkpoints for the page, as a training would leave them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from patchlight.build import build_method, data_channels
from patchlight.checkpoint import make_record
from patchlight.config.compose import compose_config

Save = Callable[..., Path]

SMALL = {
    "pix2pix": ["data=paired", "model/generator=unet_128", "model.generator.num_downs=5", "model.generator.ngf=8"],
    "cyclegan": ["data=unpaired", "model/generator=resnet_6", "model.generator.n_blocks=1", "model.generator.ngf=8"],
}


@cache
def composed(*overrides: str) -> DictConfig:
    """The configuration of a command line, which is not changed."""
    return compose_config("train", overrides)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes a checkpoint of a small model below the test's folder."""

    def write(name: str, model: str = "pix2pix", *overrides: str, ema: bool = False) -> Path:
        cfg = composed(
            f"model={model}", "data.root=sets/some", "model.discriminator.ndf=4", "model.discriminator.n_layers=1",
            "data.image_size=64", "data.load_size=64", *SMALL[model], *overrides,
        )  # fmt: skip
        torch.manual_seed(1)
        method = build_method(cfg.model, data_channels(cfg.data))
        config: dict[str, Any] = {key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("model", "data")}
        checkpoint: dict[str, Any] = {"state_dict": method.state_dict(), "patchlight": make_record(config)}
        if ema:
            checkpoint["ema"] = {
                key: value * 0.5 if value.is_floating_point() else value
                for key, value in method.state_dict().items()
                if key.startswith("generator")
            }
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(checkpoint, path)
        return path

    return write
