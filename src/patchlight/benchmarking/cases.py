"""The training steps that are timed, and the plain ways of doing the same."""

from __future__ import annotations

import importlib
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Literal

import torch
from torch.utils.flop_counter import FlopCounterMode

from patchlight.benchmarking.turns import wait_for_device


@dataclass(frozen=True)
class StepCase:
    """One training step: a method with its paper's networks, on `batch` images of `size` pixels.

    `depth` is the U-Net's number of halvings, or the number of the residual generator's blocks; `width` the filters of
    the first layer of all networks.
    """

    name: str
    method: Literal["pix2pix", "cyclegan"]
    size: int
    depth: int
    batch: int = 1
    n_layers: int = 3
    width: int = 64
    compile: bool = False

    def overrides(self) -> list[str]:
        """The command line of this step; data, callbacks and length are left open."""
        pix2pix = self.method == "pix2pix"
        return [
            f"model={self.method}",
            f"model/generator={'unet_256' if pix2pix else 'resnet_9'}",
            f"model.generator.{'num_downs' if pix2pix else 'n_blocks'}={self.depth}",
            f"model.generator.ngf={self.width}",
            f"model.discriminator.n_layers={self.n_layers}",
            f"model.discriminator.ndf={self.width}",
            f"data={'synthetic' if pix2pix else 'synthetic_unpaired'}",
            f"data.image_size={self.size}",
            f"data.load_size={round(self.size * 286 / 256)}",
            f"data.batch_size={self.batch}",
            f"perf.compile={str(self.compile).lower()}",
        ]


STEPS = (
    StepCase("pix2pix 256 px", "pix2pix", 256, 8),
    StepCase("pix2pix 256 px, compiled", "pix2pix", 256, 8, compile=True),
    StepCase("pix2pix 256 px, batch 4", "pix2pix", 256, 8, batch=4),
    StepCase("pix2pix 128 px", "pix2pix", 128, 7),
    StepCase("CycleGAN 256 px", "cyclegan", 256, 9),
    StepCase("CycleGAN 128 px", "cyclegan", 128, 9),
)

OVERHEAD = (
    StepCase("pix2pix 256 px", "pix2pix", 256, 8),
    StepCase("pix2pix 64 px", "pix2pix", 64, 6),
)
"""Steps whose whole training is compared with a bare loop over the same networks."""

TRANSLATIONS = (STEPS[0], STEPS[4])
"""Steps whose generators are timed in translating files."""

IMPORTS = "import lightning.pytorch, torchvision"
"""What a start is compared with: the least that a Lightning training with torchvision takes to begin."""

MISTAKES = ("model.gan_mod=lsgan", "trainer.max_steps=ten", "model.gan_mode=lsgn")
"""A wrong key, a wrong value and a wrong choice on the command line of `patchlight-train`."""

Scale = tuple[tuple[float, StepCase], ...]
"""Sizes with the step at each."""

_MIDDLE = StepCase("pix2pix, U-Net 128", "pix2pix", 256, 7)

SCALING: dict[str, Scale] = {
    "pixels": tuple((float(s * s), replace(_MIDDLE, size=s)) for s in (128, 256, 512)),
    "batch size": tuple((float(b), replace(_MIDDLE, size=128, batch=b)) for b in (1, 4, 8)),
    "n_layers": tuple((float(n), replace(_MIDDLE, size=128, n_layers=n)) for n in (1, 2, 3, 4)),
}
"""By what is varied."""


def plain_dir() -> Path:
    """The folder of the plain modules: inside an installed package, else `benchmarks/` at the top level."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "plain"
    return installed if installed.is_dir() else package.parents[1] / "benchmarks"


def plain_module(name: str) -> ModuleType:
    """A plain module by its name. They import nothing of this project, and one another by their names alone."""
    folder = str(plain_dir())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def flops_of(step: Callable[[], object]) -> int:
    """The operations of convolutions and matrix products in one call, forwards and backwards."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def matmul_peak(device: torch.device, dtype: torch.dtype, side: int = 2048, times: int = 7) -> float:
    """Operations per second of the product of two square matrices, the median of several."""
    a, b = torch.randn(2, side, side, device=device).to(dtype)
    seconds = []
    for _ in range(times):
        wait_for_device()
        started = time.perf_counter()
        a @ b
        wait_for_device()
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / statistics.median(seconds)
