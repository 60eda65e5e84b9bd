"""Floating-point operations: how many a step takes, and how many the device can do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from patchlight.benchmarking.turns import wait_for_device


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
