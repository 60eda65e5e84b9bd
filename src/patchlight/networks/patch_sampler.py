"""Vectors of the same patches in several feature maps, by which contrastive losses compare images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from patchlight.networks.base import Generator
from patchlight.networks.layers import require_at_least
from patchlight.networks.maps import copy_with

Sampled = tuple[list[Tensor], list[Tensor]]
"""For each feature map vectors, B P C, and their positions, P."""

OFFSET = 1e-7
"""Added to a vector's length, by which it is divided."""


class PatchSample(nn.Module):
    """Vectors of unit length at some positions of feature maps.

    Takes feature maps, each B C H W, and returns for each B P C and the P positions, row * W + column, in int64: those
    of `patch_ids`, or else `num_patches` of them, drawn without repetition from PyTorch's global generator on the CPU
    and the same for all images of the batch. A smaller map gives all of its positions.

    Source: Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", section 3.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(
        self, features: Sequence[Tensor], num_patches: int = 256, patch_ids: Sequence[Tensor] | None = None
    ) -> Sampled:
        if patch_ids is None:
            patch_ids = draw_patch_ids([feature.shape[2:].numel() for feature in features], num_patches)
        vectors = []
        for i, (feature, ids) in enumerate(zip(features, patch_ids, strict=True)):
            rows, width = ids.to(feature.device, non_blocking=True), feature.shape[3]
            vector = self.project(i, feature[:, :, rows // width, rows % width].transpose(1, 2))
            vectors.append(vector / (vector.norm(dim=2, keepdim=True) + OFFSET))
        return vectors, list(patch_ids)

    def project(self, i: int, vectors: Tensor) -> Tensor:
        """The vectors of the i-th feature map, B P C, before they are brought to unit length."""
        return vectors


class PatchSampleMLP(PatchSample):
    """As `PatchSample`, with a perceptron of two layers for each feature map, which makes vectors of `nc` numbers.

    `in_channels` are the channels of each feature map.

    Raises:
        ValueError: no feature maps, or a number below 1.
    """

    def __init__(self, in_channels: Sequence[int], nc: PositiveInt = 256) -> None:
        super().__init__()
        require_at_least("nc", nc, 1)
        require_at_least("the number of feature maps", len(in_channels), 1)
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(channels, nc), nn.ReLU(), nn.Linear(nc, nc)) for channels in in_channels
        )

    def project(self, i: int, vectors: Tensor) -> Tensor:
        projected: Tensor = self.mlps[i](vectors)
        return projected


def draw_patch_ids(sizes: Sequence[int], num_patches: int) -> list[Tensor]:
    """For each number of positions `num_patches` of them, or all if there are fewer, in random order."""
    return [torch.randperm(size)[:num_patches] for size in sizes]


def feature_channels(generator: Generator, in_channels: int, layers: Sequence[int]) -> list[int]:
    """How many channels a generator's features have behind each of these layers, found without data.

    Raises:
        ValueError: see `Generator.encode`.
    """
    side = generator.size_multiple * -(-64 // generator.size_multiple)
    empty = copy_with(generator, lambda tensor: torch.empty_like(tensor, device="meta"))
    assert isinstance(empty, Generator)
    with torch.no_grad(), torch.device("meta"):
        return [feature.shape[1] for feature in empty.encode(torch.empty(1, in_channels, side, side), layers)]
