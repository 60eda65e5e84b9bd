"""Instance norm that stays in the memory layout of its input and keeps its statistics in float32."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


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
