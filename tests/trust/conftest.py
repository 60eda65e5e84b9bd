"""Names that a hostile checkpoint would give, and records to put them into."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from patchlight.checkpoint import make_record
from patchlight.config.compose import compose_config
from small_models import make_checkpoint

Config = dict[str, Any]

SMALL = [
    "data=paired", "+data/augment=geometry", "data.root=somewhere", "data.image_size=64", "data.load_size=64",
    "model/generator=unet_128", "model.generator.num_downs=5", "model.generator.ngf=4", "model/penalty=r1",
    "model.discriminator.ndf=4", "model.discriminator.n_layers=1", "model.discriminator.norm=instance",
    "model/optimizer_d=sgd", "callbacks=[default,ema,early_stopping]", "logger=default", "paths.run_dir=run",
    "trainer=cpu",
]  # fmt: skip


@pytest.fixture(scope="session")
def recorded() -> Config:
    """The configuration that a small training leaves in its checkpoints; not to be changed."""
    cfg = compose_config("train", SMALL)
    config: Config = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    return config


@pytest.fixture(scope="session")
def trained(recorded: Config) -> dict[str, Any]:
    """The content of a small checkpoint; not to be changed."""
    content, _ = make_checkpoint(OmegaConf.create(recorded), ema=True, groups=tuple(recorded))
    return {**content, "global_step": 7, "epoch": 1}


@pytest.fixture
def save(trained: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Writes the small checkpoint with a configuration of its own."""

    def write(config: Config, name: str = "hostile.ckpt", **parts: Any) -> Path:
        path = tmp_path / name
        torch.save({**trained, "patchlight": make_record(config), **parts}, path)
        return path

    return write


@pytest.fixture
def put(recorded: Config) -> Callable[..., Config]:
    """Puts a value at a dotted key, `[0]` being an entry of a list; into a copy of the configuration unless told."""

    def changed(key: str, value: Any, config: Config | None = None) -> Config:
        config = copy.deepcopy(recorded) if config is None else config
        node: Any = config
        *way, last = key.replace("[", ".[").split(".")
        for part in way:
            if part.startswith("["):
                node = node[int(part[1:-1])]
            else:
                node[part] = node.get(part) if isinstance(node.get(part), dict | list) else {}
                node = node[part]
        node[int(last[1:-1]) if last.startswith("[") else last] = value
        return config

    return changed


@pytest.fixture
def no_import() -> Iterator[None]:
    """Fails the test if anything is imported in it."""
    before = set(sys.modules)
    yield
    assert set(sys.modules) == before
