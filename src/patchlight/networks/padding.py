"""Padding by reflection with a backward pass that is deterministic and stays in the memory layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class ReflectionPad2d(nn.ReflectionPad2d):
    """Mirror `width` pixels at each edge: (B, C, H, W) -> (B, C, H + 2 width, W + 2 width).

    `nn.ReflectionPad2d` does the same; its backward pass scatters value by value, and on CUDA in no fixed order. This
    one copies the middle and adds eight strips.

    Raises:
        RuntimeError: `width` is not smaller than the sides of the image.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.width = width

    def forward(self, input: Tensor) -> Tensor:
        # Compilers and exporters know the plain operation.
        if self.width == 0 or torch.compiler.is_compiling() or torch.compiler.is_exporting():
            return super().forward(input)
        padded: Tensor = _Reflect.apply(input, self.width)
        return padded


class _Reflect(torch.autograd.Function):
    """Reflection in both directions; made of operations that have derivatives themselves."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, width: int) -> Tensor:
        ctx.width = width
        return F.pad(image, (width,) * 4, mode="reflect")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        w: int = ctx.width
        middle = slice(w, -w)
        # Where a strip lies in the padded image, and the pixels of the image that it mirrors.
        strips = ((slice(0, w), slice(1, w + 1)), (slice(-w, None), slice(-w - 1, -1)))
        total = gradient[..., middle, middle].clone()
        for strip, mirrored in strips:
            total[..., mirrored, :] += gradient[..., strip, middle].flip(-2)
            total[..., :, mirrored] += gradient[..., middle, strip].flip(-1)
            for strip_x, mirrored_x in strips:
                total[..., mirrored, mirrored_x] += gradient[..., strip, strip_x].flip(-2, -1)
        return total, None
