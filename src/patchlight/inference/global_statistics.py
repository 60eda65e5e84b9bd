"""An image in tiles as if it were in one piece: norm statistics and dropout noise of the whole image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from patchlight.inference.tiles import Grid, Place


class GlobalStatistics:
    """Stands in for the layers of a network that look at a whole image, while it computes single tiles.

    Instance norm has the same statistics in every tile: those that crops from all over the image have together. With
    `own_statistics` so have norms with running statistics, such as batch norm, and dropout has the part of the image's
    noise that lies on the tile, drawn from `noise_seed` as for the image in one piece. It is a context, outside of
    which the network is as it was: within `sampled` one batch of crops goes through the network, then each tile. Where
    there is dropout, `grid` holds all tiles, and `place` is set before each.
    """

    def __init__(
        self, network: nn.Module, grid: Grid | None = None, *, own_statistics: bool, noise_seed: int = 0
    ) -> None:
        modules = list(network.modules())
        norms = [module for module in modules if isinstance(module, _BatchNorm | _InstanceNorm)]
        # Those with running statistics use them, unless they are told otherwise.
        self.norms = [norm for norm in norms if own_statistics or norm.running_mean is None]
        dropout = [module for module in modules if isinstance(module, _DropoutNd) and module.p > 0]
        self.dropout = dropout if own_statistics else []
        self.grid = grid
        self.noise_seed = noise_seed
        self.place: Place | None = None
        self._sampling = False
        self._statistics: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._kept: dict[nn.Module, Tensor] = {}
        self._generator: torch.Generator | None = None
        self._handles: list[Any] = []

    def __enter__(self) -> GlobalStatistics:
        self._handles = [norm.register_forward_hook(self._normalised) for norm in self.norms]
        self._handles += [layer.register_forward_hook(self._dropped) for layer in self.dropout]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    @contextmanager
    def sampled(self) -> Iterator[None]:
        """Within it, the statistics of what goes through the network are kept for the tiles."""
        self._sampling = True
        try:
            yield
        finally:
            self._sampling = False

    def _normalised(self, norm: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        (features,) = inputs
        if self._sampling:
            variance, mean = torch.var_mean(features.float(), dim=(0, 2, 3), correction=0)
            self._statistics[norm] = mean, variance
        mean, variance = self._statistics[norm]
        scale = (variance + norm.eps).rsqrt()
        shift = -mean * scale
        if norm.weight is not None:
            scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
        if output.dtype == torch.float32:  # at the place of what the norm itself has computed, which can be large
            return torch.addcmul(shift[:, None, None], features, scale[:, None, None], out=output)
        return torch.addcmul(shift[:, None, None], features.float(), scale[:, None, None]).to(output.dtype)

    def _dropped(self, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if self._sampling:
            return output
        (features,) = inputs
        assert self.grid is not None
        assert self.place is not None
        height, width = features.shape[-2:]
        down, across = height / self.place.height, width / self.place.width
        if layer not in self._kept:
            size = round(self.grid.rows.length * down), round(self.grid.columns.length * across)
            self._kept[layer] = self._draw(features, size, 1 - layer.p)
        top, left = round(self.place.top * down), round(self.place.left * across)
        kept = self._kept[layer][..., top : top + height, left : left + width]
        return torch.mul(features, kept, out=output).div_(1 - layer.p)

    def _draw(self, features: Tensor, size: tuple[int, int], share: float) -> Tensor:
        """Which features of the whole image are kept; the layers' turns are those of a pass of the image."""
        if self._generator is None:
            self._generator = torch.Generator(features.device).manual_seed(self.noise_seed)
        shape = (1, features.shape[1], *size)
        noise = torch.empty(shape, dtype=torch.bool, device=features.device)
        return noise.bernoulli_(share, generator=self._generator)
