"""A checkpoint and images for timing translation."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from PIL import Image

from patchlight.benchmarking.cases import StepCase
from patchlight.build import build_method
from patchlight.checkpoint import RECORD_KEY, make_record
from patchlight.config.compose import compose_config
from patchlight.data.datasets import read
from patchlight.data.sources import Folders
from patchlight.data.splits import domains_of


def write_checkpoint(case: StepCase, path: Path) -> None:
    """A checkpoint of a case's networks as they are before training, which takes them as long as afterwards."""
    cfg = compose_config("train", [*case.overrides(), "paths.run_dir=.", "trainer.max_epochs=1"])
    torch.manual_seed(0)
    method = build_method(cfg.model, {"A": 3, "B": 3})
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": method.state_dict(), RECORD_KEY: make_record(config)}, path)


def write_inputs(root: Path, size: int, images: int, folder: Path) -> None:
    """So many square images of domain A in files of their own, from the test split or, failing that, the other."""
    found = Folders(root, "paired", "auto")
    sources = domains_of(found(split="test"), "paired").a
    if len(sources) < images:
        sources = domains_of(found(split="train"), "paired").a
    folder.mkdir(parents=True, exist_ok=True)
    for i, source in enumerate(islice(cycle(sources), images)):
        Image.fromarray(read(source, 3)).resize((size, size)).save(folder / f"{i:03d}.png")
