"""Weights of published networks: where they lie, and what to do where they do not."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch


@dataclass(frozen=True)
class WeightsFile:
    """A file that torch.hub keeps: what it holds, and where it is published."""

    title: str
    url: str

    def path(self) -> Path:
        """Where the file lies, or is to lie."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.url.rpartition("/")[2]

    def is_needed(self, reason: object) -> str:
        """The message, after what needs it, where the file is not there and could not be downloaded for a reason."""
        return (
            f"needs {self.title}, which could not be downloaded ({reason}): get {self.url} and put it into "
            f"{self.path().parent} (TORCH_HOME={os.environ.get('TORCH_HOME', 'not set')})"
        )


ALEXNET = WeightsFile("AlexNet's ImageNet weights", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth")
VGG16 = WeightsFile("VGG16's ImageNet weights", "https://download.pytorch.org/models/vgg16-397923af.pth")
VGG19 = WeightsFile("VGG19's ImageNet weights", "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth")
INCEPTION = WeightsFile(
    "the Inception network of FID",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
)


@cache
def sha256_of(path: Path) -> str:
    """The hash of a file, as it was when it was first asked for."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
