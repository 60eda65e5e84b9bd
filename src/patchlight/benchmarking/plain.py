"""The plain ways of doing things, which are compared with, and the floating-point operations that they take."""

from __future__ import annotations

import importlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch.utils.flop_counter import FlopCounterMode

from patchlight.benchmarking.turns import wait_for_device


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
