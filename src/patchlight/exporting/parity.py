"""Whether an exported file computes what PyTorch computes, and how fast."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from patchlight.errors import DataError
from patchlight.exporting.graph import Compute, ImageGraph
from patchlight.system.devices import retain_allocator_memory

FLOAT_LIMIT = 1e-4
"""The largest difference of values in [-1, 1] that a file is kept with, in float32."""

BYTE_LIMIT = 1
"""The same in levels of 8 bits: truncation turns a difference in the last bits into a level."""

ROUNDS = 7
"""Measurements of the speed, of which the median counts; the two take turns."""

SECONDS = 0.2
"""How long a measurement lasts at least."""


@dataclass(frozen=True)
class Agreement:
    """The largest difference between a file and PyTorch for a batch of images."""

    shape: tuple[int, int, int, int]
    difference: float

    def __str__(self) -> str:
        batch, _, height, width = self.shape
        return f"{batch} x {height}x{width}: {self.difference:.2g}"


def limit(graph: ImageGraph) -> float:
    """The difference above which a file is not kept."""
    return BYTE_LIMIT if graph.value_range == "bytes" else FLOAT_LIMIT * graph.scale


def compare(compute: Compute, graph: ImageGraph, channels: int) -> list[Agreement]:
    """The differences for one image and for three, of two sizes, neither of which the file was made with.

    Raises:
        DataError: the file computes images of another size or type, or none at all.
    """
    multiple = graph.generator.size_multiple
    # The smallest, which is that of the training of a U-Net, and one that is not square. Where the network itself names
    # a smallest side, its double: at the smallest, instance norm divides by the deviation of four values, and PyTorch's
    # own float32 is 1e-4 away from its float64 (LocalEnhancer at 64 px; 1.6e-5 at 128 px).
    smallest = graph.generator.min_size
    side = max(multiple, 32, math.ceil(2 * smallest / multiple) * multiple if smallest > 1 else 0)
    found = []
    for i, shape in enumerate(((1, channels, side, side), (3, channels, side, side + max(multiple, 32)))):
        batch = graph.random_batch(shape, seed=i)
        with torch.no_grad():
            expected = graph(*batch)
        got = _computed(compute, batch)
        if got.shape != expected.shape or got.dtype != expected.dtype:
            raise DataError(
                f"the exported graph makes {got.dtype} {tuple(got.shape)} of {shape} where PyTorch makes "
                f"{expected.dtype} {tuple(expected.shape)}: no file was kept"
            )
        found.append(Agreement(shape, (got.double() - expected.double()).abs().max().item()))
    return found


def _computed(compute: Compute, batch: Sequence[torch.Tensor]) -> torch.Tensor:
    shape = tuple(batch[0].shape)
    try:
        with torch.no_grad():
            return compute(*batch)
    except Exception as error:
        own = isinstance(error, RuntimeError | AssertionError | ValueError)
        if not own and not type(error).__module__.startswith("onnxruntime"):
            raise
        detail = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise DataError(f"the exported graph cannot take {shape} ({detail}): no file was kept") from None


def measure(compute: Compute, graph: ImageGraph, channels: int, side: int) -> tuple[float, float]:
    """Images a second, of that side and one after the other on the CPU: by a file, and by PyTorch as it is."""
    batch = graph.random_batch((1, channels, side, side), seed=0)
    retain_allocator_memory()  # or PyTorch would ask the system for every feature map, and be slow for that

    def seconds(of: Compute, times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            of(*batch)
        return (time.perf_counter() - began) / times

    with torch.no_grad():
        warm = [seconds(of, 2) for of in (compute, graph)]
        times = [max(1, round(SECONDS / each)) for each in warm]
        pairs = [(seconds(compute, times[0]), seconds(graph, times[1])) for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return 1 / ours, 1 / theirs
