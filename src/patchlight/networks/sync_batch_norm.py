"""Batch norm over the images of all ranks, on any device."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F  # noqa: N812


class SyncBatchNorm(nn.SyncBatchNorm):
    """PyTorch's SyncBatchNorm, whose kernels are for GPUs only, with the same arithmetic for other devices.

    Shapes: (B, C, H, W) -> (B, C, H, W). In a single process, and while `alone`, it is batch norm.
    """

    alone: bool = False
    """Use the statistics of this rank only: for evaluation, where ranks have different numbers of batches."""

    def forward(self, input: Tensor) -> Tensor:
        if not self._shares_statistics():
            return self._batch_norm(input)
        if input.is_cuda:
            return super().forward(input)
        return self._over_ranks(input)

    def _shares_statistics(self) -> bool:
        if self.alone or not self.training:
            return False
        return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1

    def _batch_norm(self, input: Tensor) -> Tensor:
        use_batch = self.training or not self.track_running_stats
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        keep = self.track_running_stats or not self.training
        mean, variance = (self.running_mean, self.running_var) if keep else (None, None)
        return F.batch_norm(input, mean, variance, self.weight, self.bias, use_batch, momentum, self.eps)

    def _over_ranks(self, input: Tensor) -> Tensor:
        # Mean first, then squares of what lies around it: stable where E[x^2] - E[x]^2 is not.
        n = torch.tensor(float(input.numel() // input.shape[1]), dtype=input.dtype, device=input.device)
        distributed.all_reduce(n)
        shape = (1, -1, 1, 1)
        mean = _sum(input.sum(dim=(0, 2, 3))) / n
        centred = input - mean.view(shape)
        variance = _sum(centred.square().sum(dim=(0, 2, 3))) / n
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            assert self.momentum is not None
            assert self.num_batches_tracked is not None
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_((variance * n / (n - 1)).to(self.running_var.dtype), self.momentum)
        scaled: Tensor = centred * (variance + self.eps).rsqrt().view(shape)
        return scaled * self.weight.view(shape) + self.bias.view(shape)


def _sum(values: Tensor) -> Tensor:
    """The sum over all ranks, through which gradients flow."""
    total: Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
    return total
