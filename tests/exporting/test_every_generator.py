"""ONNX of every generator that the configuration offers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patchlight.exporting.graph import ImageGraph, open_graph, write_graph
from patchlight.exporting.parity import FLOAT_LIMIT, compare
from patchlight.networks import Generator, GlobalGenerator, LocalEnhancer, ResNetGenerator, UNetGenerator

GENERATORS: dict[str, Callable[[Any], Generator]] = {
    "unet_128": lambda norm: UNetGenerator(3, 3, num_downs=7, ngf=8, norm=norm, dropout=True),
    "unet_256": lambda norm: UNetGenerator(3, 3, num_downs=8, ngf=8, norm=norm, dropout=True),
    "resnet_6": lambda norm: ResNetGenerator(3, 3, n_blocks=6, ngf=8, norm=norm),
    "resnet_9": lambda norm: ResNetGenerator(3, 3, n_blocks=9, ngf=8, norm=norm),
    "global": lambda norm: GlobalGenerator(3, 3, ngf=4, n_downsampling=4, n_blocks=9, norm=norm),
    "local_enhancer": lambda norm: LocalEnhancer(3, 3, ngf=4, n_downsampling=4, n_blocks=9, norm=norm),
}


NORMS = {
    "unet_128": ("batch", "instance", "none"), "unet_256": ("batch",),
    "resnet_6": ("instance", "batch", "none"), "resnet_9": ("instance",),
    "global": ("instance",), "local_enhancer": ("instance", "batch"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
def test_onnx_at_two_sizes(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    for norm in NORMS[name]:
        graph = ImageGraph(GENERATORS[name](norm), "normalised", "eval")
        file = tmp_path / f"{norm}.onnx"
        write_graph(graph, "onnx", file, {"in_channels": "3"}, opset=18)
        found = compare(open_graph("onnx", file)[0], graph, 3)
        assert len({agreement.shape for agreement in found}) == 2
        for agreement in found:
            assert agreement.difference < FLOAT_LIMIT, f"{norm}: {agreement}"
