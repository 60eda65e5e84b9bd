"""Layers that generators have by option: several ways to double a resolution, and self-attention."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from patchlight.networks.layers import BlurUpsample, PixelShuffleConv2d
from patchlight.networks.winograd import WinogradConv2d

Upsample = Literal["transposed", "nearest", "bilinear", "pixelshuffle"]
"""How a decoder doubles the resolution."""

ATTENTION_SHARE = 8
"""The width of queries, keys and values is this part of the features' width."""


def upsampling_layers(
    upsample: Upsample,
    in_channels: int,
    out_channels: int,
    *,
    kernel_size: Literal[3, 4],
    bias: bool,
    by_tiles: bool = False,
) -> list[nn.Module]:
    """The layers that double a resolution: (B, in_channels, H, W) -> (B, out_channels, 2H, 2W).

    `transposed` is a transposed convolution with a kernel of `kernel_size`; the others have 3x3 convolutions. `nearest`
    and `bilinear` interpolate before theirs, a `WinogradConv2d` if `by_tiles`; `pixelshuffle` convolves to four times
    the channels, which become pixels.

    Raises:
        ValueError: an unknown choice.

    Source: Odena et al. 2016, "Deconvolution and Checkerboard Artifacts", for interpolation before the convolution;
    see `BlurUpsample` for bilinear interpolation and `PixelShuffleConv2d`.
    """
    match upsample:
        case "transposed":
            odd = kernel_size % 2
            return [nn.ConvTranspose2d(in_channels, out_channels, kernel_size, 2, 1, output_padding=odd, bias=bias)]
        case "nearest" | "bilinear":
            interpolation = BlurUpsample() if upsample == "bilinear" else nn.Upsample(scale_factor=2, mode="nearest")
            if by_tiles:
                return [interpolation, WinogradConv2d(in_channels, out_channels, padding=1, bias=bias)]
            return [interpolation, nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=bias)]
        case "pixelshuffle":
            return [PixelShuffleConv2d(in_channels, out_channels, factor=2, bias=bias)]
    raise ValueError(f"upsample must be one of {', '.join(get_args(Upsample))}, got {upsample!r}")


class SelfAttention(nn.Module):
    """Adds to every place what it finds at all others: (B, C, H, W) -> the same shape.

    x + gate V(softmax(Q(x)^T K(x)) H(x)) with 1x1 convolutions Q, K, H to C/8 channels and V back to C. The gate is 0
    at the start, so that nothing is added before it has been learnt. The cost grows with the square of H W.

    Source: Zhang et al. 2019, "Self-Attention Generative Adversarial Networks", equations 1 to 3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // ATTENTION_SHARE, 1)
        self.query = nn.Conv2d(channels, inner, kernel_size=1, bias=False)
        self.key = nn.Conv2d(channels, inner, kernel_size=1, bias=False)
        self.value = nn.Conv2d(channels, inner, kernel_size=1, bias=False)
        self.output = nn.Conv2d(inner, channels, kernel_size=1, bias=False)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        query, key, value = (_as_sequence(layer(features)) for layer in (self.query, self.key, self.value))
        # The paper does not divide by the root of the width.
        found = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        # In the usual layout: from another, an exported graph would take more than one image only.
        attended: Tensor = self.output(
            found.squeeze(1).mT.contiguous().view(features.shape[0], -1, *features.shape[2:])
        )
        return features + self.gate * attended


def _as_sequence(features: Tensor) -> Tensor:
    """Places one after the other, for a single head: (B, C, H, W) -> (B, 1, H W, C)."""
    # In this order of memory the fast kernels take them, which do not hold a weight for each pair of places.
    return features.flatten(2).mT.unsqueeze(1).contiguous()
