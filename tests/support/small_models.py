"""Checkpoints of small models, as a training would leave them, without the training."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from patchlight.build import build_method, data_channels
from patchlight.checkpoint import make_record
from patchlight.config.compose import compose_config
from patchlight.methods import TranslationMethod

SMALL = {
    "pix2pix": ("data=paired", "model/generator=unet_128", "model.generator.num_downs=5", "model.generator.ngf=8"),
    "cyclegan": ("data=unpaired", "model/generator=resnet_6", "model.generator.n_blocks=1", "model.generator.ngf=8"),
    "pix2pixhd": ("data=paired", "model.generator.n_downsampling=2", "model.generator.n_blocks=1",
                  "model.generator.ngf=4"),
}  # fmt: skip
"""For each method what makes its generator small. A new method is a new line."""


@cache
def composed(*overrides: str) -> DictConfig:
    """The configuration of a command line, which takes a quarter of a second and is not changed."""
    return compose_config("train", overrides)


def small_config(model: str, *overrides: str) -> DictConfig:
    """The configuration of a small model, which is not changed."""
    return composed(f"model={model}", "data.root=somewhere", "model.discriminator.ndf=4", *SMALL[model], *overrides)


def make_checkpoint(
    cfg: DictConfig, *, ema: bool = False, perturbed: bool = False, groups: tuple[str, ...] = ("model", "data")
) -> tuple[dict[str, Any], TranslationMethod]:
    """The content of a checkpoint with the weights that a method begins with, and the method.

    `perturbed` moves weights and running statistics to where no initialisation leaves them; `ema` adds averages of half
    the weights; `groups` are the parts of the configuration that are recorded.
    """
    torch.manual_seed(1)
    method = build_method(cfg.model, data_channels(cfg.data))
    if perturbed:
        _perturb(method)
    config = {key: _plain(cfg[key]) for key in groups}
    content: dict[str, Any] = {"state_dict": method.state_dict(), "patchlight": make_record(config)}
    if ema:
        content["ema"] = {
            name: value * 0.5 if value.is_floating_point() else value
            for name, value in method.state_dict().items()
            if name.startswith("generator")
        }
    return content, method


def write_checkpoint(
    path: Path, model: str, *overrides: str, ema: bool = False, perturbed: bool = False
) -> TranslationMethod:
    """Write the checkpoint of a small model, and return the method that is in it."""
    content, method = make_checkpoint(small_config(model, *overrides), ema=ema, perturbed=perturbed)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return method


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


@torch.no_grad()
def _perturb(method: TranslationMethod) -> None:
    for name, value in [*method.named_parameters(), *method.named_buffers()]:
        if "running_var" in name:
            value.uniform_(0.5, 2)
        elif "num_batches" in name:
            value.fill_(7)
        elif value.is_floating_point() and "label" not in name:
            value.add_(torch.randn_like(value) * 0.05)
