"""Files of every generator that the configuration offers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from patchlight.exporting.graph import ImageGraph, open_graph, write_graph
from patchlight.exporting.parity import FLOAT_LIMIT, compare
from patchlight.networks import (
    Generator,
    GlobalGenerator,
    LocalEnhancer,
    QuarterResNetGenerator,
    ResNetGenerator,
    UNetGenerator,
)
from patchlight.networks.generator_layers import SelfAttention

GENERATORS: dict[str, Callable[[Any], Generator]] = {
    "unet_128": lambda norm: UNetGenerator(3, 3, num_downs=7, ngf=8, norm=norm, dropout=True),
    "unet_256": lambda norm: UNetGenerator(3, 3, num_downs=8, ngf=8, norm=norm, dropout=True),
    "resnet_6": lambda norm: ResNetGenerator(3, 3, n_blocks=6, ngf=8, norm=norm),
    "resnet_9": lambda norm: ResNetGenerator(3, 3, n_blocks=9, ngf=8, norm=norm),
    "global": lambda norm: GlobalGenerator(3, 3, ngf=4, n_downsampling=4, n_blocks=9, norm=norm),
    "local_enhancer": lambda norm: LocalEnhancer(3, 3, ngf=4, n_downsampling=4, n_blocks=9, norm=norm),
    "resnet_9_mobile": lambda norm: ResNetGenerator(3, 3, n_blocks=9, ngf=8, norm=norm, block="separable"),
    "resnet_9_quarter": lambda norm: QuarterResNetGenerator(3, 3, n_blocks=9, ngf=8, norm=norm),
    "resnet nearest": lambda norm: attentive(ResNetGenerator(3, 3, 2, 8, norm, upsample="nearest", attention=True)),
    # Wide enough for convolutions by way of tiles, whose choice by size must not be in an exported graph.
    "resnet bilinear": lambda norm: ResNetGenerator(3, 3, n_blocks=1, ngf=16, norm=norm, upsample="bilinear"),
    "unet pixelshuffle": lambda norm: attentive(
        UNetGenerator(3, 3, 5, 8, norm, upsample="pixelshuffle", attention=True)
    ),
}


def attentive(network: Generator) -> Generator:
    """With gates that are open, so that attention is in what is compared."""
    for layer in network.modules():
        if isinstance(layer, SelfAttention):
            torch.nn.init.constant_(layer.gate, 0.5)
    return network


NORMS = {
    "unet_128": ("batch", "instance", "none"), "unet_256": ("batch",),
    "resnet_6": ("instance", "batch", "none"), "resnet_9": ("instance",),
    "global": ("instance",), "local_enhancer": ("instance", "batch"),
    "resnet_9_mobile": ("instance",), "resnet_9_quarter": ("instance",), "resnet nearest": ("batch",),
    "resnet bilinear": ("instance",), "unet pixelshuffle": ("batch",),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_files_at_two_sizes(name: str, kind: Any, tmp_path: Path) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    for norm in NORMS[name]:
        graph = ImageGraph(GENERATORS[name](norm), "normalised", "eval")
        file = tmp_path / f"{norm}.{kind}"
        write_graph(graph, kind, file, {"in_channels": "3"}, opset=18)
        found = compare(open_graph(kind, file)[0], graph, 3)
        assert len({agreement.shape for agreement in found}) == 2
        for agreement in found:
            assert agreement.difference < FLOAT_LIMIT, f"{norm}: {agreement}"
