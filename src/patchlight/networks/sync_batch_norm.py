"""Batch norm over the images of all ranks, on any device."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics are those of the images on all ranks.

    Shapes: (B, C, H, W) -> (B, C, H, W). In a single process, in evaluation, and while `alone`, it is batch norm.
    PyTorch's own SyncBatchNorm has kernels for GPUs only; this is plain arithmetic, on whatever connects the ranks.
    Statistics are computed in float32 or more.
    """

    alone: bool = False
    """Use the statistics of this rank only: for evaluation, where ranks have different numbers of batches."""

    def forward(self, input: Tensor) -> Tensor:
        if self.alone or not self.training or not _several_ranks():
            return super().forward(input)
        # Mean first, then the squares of what lies around it: stable where E[x^2] - E[x]^2 is not.
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        n = torch.full((1,), x.numel() // x.shape[1], dtype=x.dtype, device=x.device)
        distributed.all_reduce(n)
        shape = (1, -1, 1, 1)
        mean = _sum(x.sum(dim=(0, 2, 3))) / n
        centred = x - mean.view(shape)
        variance = _sum(centred.square().sum(dim=(0, 2, 3))) / n
        self._remember(mean.detach(), (variance * n / (n - 1)).detach())
        scaled = centred * (variance + self.eps).rsqrt().view(shape)
        return (scaled * self.weight.view(shape) + self.bias.view(shape)).to(input.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Follow the statistics for evaluation, as batch norm does."""
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        assert self.momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)


def _several_ranks() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _sum(values: Tensor) -> Tensor:
    """The sum over all ranks, through which gradients flow."""
    total: Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
    return total
