"""Weights of published networks: where they lie, and what to do where they do not."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from patchlight.errors import ConfigError


@dataclass(frozen=True)
class WeightsFile:
    """A file that torch.hub keeps: what it holds, its name, and where it is published."""

    title: str
    name: str
    url: str

    def path(self) -> Path:
        """Where the file lies, or is to lie."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.name


ALEXNET = WeightsFile(
    "AlexNet's ImageNet weights",
    "alexnet-owt-7be5be79.pth",
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
)
INCEPTION = WeightsFile(
    "the Inception network of FID",
    "weights-inception-2015-12-05-6726825d.pth",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
)


def unavailable(key: str, file: WeightsFile, reason: object, instead: str) -> ConfigError:
    """The message for weights that are not there and could not be downloaded."""
    return ConfigError(
        f"{key} needs {file.title}, which could not be downloaded ({reason}): get {file.url} and put it into "
        f"{file.path().parent} (TORCH_HOME={os.environ.get('TORCH_HOME', 'not set')}), or {instead}"
    )


@cache
def sha256_of(path: Path) -> str:
    """The hash of a file, as it was when it was first asked for."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
