"""Convolutions on the CPU whose weights are brought into the processor's layout once, not at every image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from patchlight.networks import WinogradConv2d


def pack(network: nn.Module) -> nn.Module:
    """Replace the float32 convolutions of a network on the CPU, in place, by packed ones; returns the network.

    Results differ in the last bits only. Where PyTorch was built without oneDNN, nothing is replaced.
    """
    if not torch._C._has_mkldnn:
        return network
    for name, child in network.named_children():
        if isinstance(child, nn.Conv2d | nn.ConvTranspose2d) and _is_plain(child):
            network.add_module(name, PackedConvolution(child))
        else:
            pack(child)
    return network


def _is_plain(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    # What derives from these, or computes its weight anew, may compute something else.
    if type(layer) not in (nn.Conv2d, nn.ConvTranspose2d, WinogradConv2d):
        return False
    return (
        layer.padding_mode == "zeros" and layer.padding not in ("same", "valid") and layer.weight.dtype == torch.float32
    )


class PackedConvolution(nn.Module):
    """A convolution or transposed convolution with its weight in oneDNN's own layout, for inference only.

    The layout is chosen for the size of the first image; others are right too. PyTorch itself does this to graphs that
    it compiles and freezes; these are the operators that it uses there.
    """

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.layer: nn.Conv2d | nn.ConvTranspose2d | None = layer
        self.bias = layer.bias
        self.transposed = isinstance(layer, nn.ConvTranspose2d)
        stride, dilation, groups = list(layer.stride), list(layer.dilation), layer.groups
        outer = [list(layer.output_padding)] if self.transposed else []
        self.geometry: list[Any] = [[int(side) for side in layer.padding], *outer, stride, dilation, groups]
        self.weight: Tensor | None = None

    def forward(self, image: Tensor) -> Tensor:
        operators = torch.ops.mkldnn
        if self.weight is None:
            assert self.layer is not None
            reorder = (
                operators._reorder_convolution_transpose_weight
                if self.transposed
                else operators._reorder_convolution_weight
            )
            self.weight = reorder(self.layer.weight.detach(), *self.geometry, list(image.shape))
            self.layer = None  # the weight as it was is not needed any more
        convolve = operators._convolution_transpose_pointwise if self.transposed else operators._convolution_pointwise
        result: Tensor = convolve(image, self.weight, self.bias, *self.geometry, "none", [], "")
        return result
