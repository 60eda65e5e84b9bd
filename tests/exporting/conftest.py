"""Small checkpoints, and the commands as they are typed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from patchlight.build import build_method, data_channels
from patchlight.checkpoint import make_record
from patchlight.config.compose import compose_config
from patchlight.methods import TranslationMethod

Make = Callable[..., TranslationMethod]
Typed = Callable[..., tuple[int, str, str]]

SMALL = {
    "pix2pix": ["data=paired", "model/generator=unet_128", "model.generator.num_downs=5", "model.generator.ngf=4"],
    "cyclegan": ["data=unpaired", "model/generator=resnet_6", "model.generator.n_blocks=1", "model.generator.ngf=4"],
}


@cache
def composed(*overrides: str) -> DictConfig:
    """The configuration of a command line, which is not changed."""
    return compose_config("train", overrides)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Writes the checkpoint model.ckpt of a small model, whose weights are nothing special, to the present folder."""
    monkeypatch.chdir(tmp_path)

    def write(model: str, *overrides: str, ema: bool = False, name: str = "model.ckpt") -> TranslationMethod:
        given = [f"model={model}", "data.root=somewhere", "model.discriminator.ndf=4", *SMALL[model], *overrides]
        cfg = composed(*given)
        torch.manual_seed(1)
        method = build_method(cfg.model, data_channels(cfg.data))
        with torch.no_grad():
            for key, value in [*method.named_parameters(), *method.named_buffers()]:
                if "running_var" in key:
                    value.uniform_(0.5, 2)
                elif "num_batches" in key:
                    value.fill_(7)
                elif value.is_floating_point() and "label" not in key:
                    value.add_(torch.randn_like(value) * 0.05)
        config = {key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("model", "data")}
        checkpoint = {"state_dict": method.state_dict(), "patchlight": make_record(config)}
        if ema:
            checkpoint["ema"] = {
                key: value * 0.5 if value.is_floating_point() else value
                for key, value in method.state_dict().items()
                if key.startswith("generator")
            }
        torch.save(checkpoint, name)
        return method

    return write


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs a command, `export` or `import_weights`, with its arguments: exit status and both outputs."""

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"patchlight-{command}", *arguments])
        capsys.readouterr()
        status = 0
        try:
            import_module(f"patchlight.cli.{command}").main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        return status, *capsys.readouterr()

    return run
