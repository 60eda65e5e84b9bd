"""The normalisation layers that a network can be built with, and what they mean for the convolution before them."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F  # noqa: N812

Norm = Literal["batch", "instance", "none", "sync_batch"]


def norm_layers(norm: Norm, channels: int) -> list[nn.Module]:
    """The layers that normalise `channels` feature maps: one, or none at all for `none`.

    Instance norm has neither affine parameters nor running statistics (Ulyanov et al. 2016). `sync_batch` shares the
    statistics of a batch between ranks and is `batch` in a single process.

    Raises:
        ValueError: `norm` is not one of the four names.
    """
    match norm:
        case "batch":
            return [nn.BatchNorm2d(channels)]
        case "sync_batch":
            return [SyncBatchNorm(channels)]
        case "instance":
            return [InstanceNorm2d(channels)]
        case "none":
            return []
    raise ValueError(f"norm must be one of {', '.join(get_args(Norm))}, got {norm!r}")


def bias_before(norm: Norm) -> bool:
    """Whether the convolution before the norm has a bias: only before `instance`, as in the reference networks.

    Batch norm has an affine bias of its own; networks without norm have none there either, so that weights of all
    four variants trade with the reference code.
    """
    return norm == "instance"


class InstanceNorm2d(nn.InstanceNorm2d):
    """Every feature map of every image to mean 0 and variance 1, without parameters or running statistics.

    Shapes: (B, C, H, W) -> (B, C, H, W), in the dtype and memory layout of the input. In float32 and float64 and the
    usual layout the values are `nn.InstanceNorm2d`'s to the bit. That one leaves channels_last for a copy, and comes
    back by another in its backward pass; and in bfloat16 it has statistics of 8 bits.

    Raises:
        ValueError: maps of a single pixel, which have no variance.

    Source: Ulyanov et al. 2016, "Instance Normalization: The Missing Ingredient for Fast Stylization", equation 1.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels, eps)

    def forward(self, input: Tensor) -> Tensor:
        # Exported graphs have an operator for this, for any number of images.
        if torch.compiler.is_exporting():
            return super().forward(input)
        if len(input) == 1:
            return _normalise(input, self.eps)
        if input.is_contiguous(memory_format=torch.channels_last) and not input.is_contiguous():
            return torch.cat([_normalise(image, self.eps) for image in input.chunk(len(input))])
        # Several images in the usual layout are one with more feature maps.
        return _normalise(input.reshape(1, -1, *input.shape[2:]), self.eps).view(input.shape)


def _normalise(image: Tensor, eps: float) -> Tensor:
    """Instance norm of one image, 1 C H W, which is batch norm of a batch with nothing else in it."""
    # With a scale in float32, batch norm has its statistics in float32 too.
    half = image.dtype in (torch.bfloat16, torch.float16)
    scale = torch.ones(image.shape[1], dtype=torch.float32, device=image.device) if half else None
    return F.batch_norm(image, None, None, weight=scale, training=True, eps=eps)


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics are those of the images on all ranks.

    Shapes: (B, C, H, W) -> (B, C, H, W). In a single process, in evaluation, and while `alone`, it is batch norm.
    PyTorch's own SyncBatchNorm has kernels for GPUs only; this is plain arithmetic, on whatever connects the ranks.
    Statistics are computed in float32 or more.
    """

    alone: bool = False
    """Use the statistics of this rank only: for evaluation, where ranks have different numbers of batches."""

    def forward(self, input: Tensor) -> Tensor:
        several_ranks = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
        if self.alone or not self.training or not several_ranks:
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


def _sum(values: Tensor) -> Tensor:
    """The sum over all ranks, through which gradients flow."""
    total: Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
    return total
