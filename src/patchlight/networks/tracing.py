"""A forward pass of a copy of a network: the layers it uses, in order, and what one value of its output sees."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrize import is_parametrized

POINTWISE = (
    nn.LeakyReLU, nn.ReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid, nn.Identity,
    nn.Dropout, nn.Dropout2d, nn.BatchNorm2d, nn.SyncBatchNorm, nn.InstanceNorm2d,
)  # fmt: skip
"""Layers that look at no neighbours. The statistics of norms, which come from the whole image, do not count."""

SIDES = (64, 256, 1024, 4096)
"""Pixels of the images that are tried, until one is large enough."""


@dataclass(frozen=True)
class Trace:
    """The layers that a forward pass went through, in order; one that is used twice is there twice.

    `is_chain` says whether each got what the one before it made, and nothing else was done on the way from the image
    to the output. `input_shape` and `output_shape` are B C H W.
    """

    layers: tuple[nn.Module, ...]
    is_chain: bool
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


def leaves(network: nn.Module) -> list[nn.Module]:
    """The layers of a network, without what computes a weight, such as its spectral norm."""
    modules = list(network.modules())
    computed = [layer.get_submodule("parametrizations") for layer in modules if is_parametrized(layer)]
    inside = {module for parts in computed for module in parts.modules()}
    return [m for m in modules if m not in inside and (is_parametrized(m) or not list(m.children()))]


def trace(network: nn.Module) -> Trace:
    """Run a copy of a network on a small image, see `_skeleton`; the network itself is left alone.

    Raises:
        ValueError: it takes no image of the channels of any of its convolutions, or makes no B C H W of it.
    """
    channels = dict.fromkeys(m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d))
    failures: list[str] = []
    skeleton = _skeleton(network)
    for n_channels in channels or [3]:
        for side in SIDES:
            try:
                return _trace(skeleton, n_channels, side)
            except Exception as error:  # a network of somebody else's, which may fail in any way
                failures.append(" ".join(str(error).split())[:200])
    raise ValueError(f"{type(network).__name__} takes no image of {SIDES[0]} x {SIDES[0]} px ({failures[0]})")


def _trace(skeleton: nn.Module, n_channels: int, side: int) -> Trace:
    calls: list[tuple[nn.Module, object, object]] = []

    def record(layer: nn.Module, args: tuple[object, ...], output: object) -> None:
        calls.append((layer, args[0] if args else None, output))

    hooks = [layer.register_forward_hook(record) for layer in leaves(skeleton)]
    image = torch.ones(1, n_channels, side, side, dtype=torch.float64)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = skeleton(image)
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(output, Tensor) or output.ndim != 4:
        raise ValueError(f"it makes {type(output).__name__} of it, which should be a map B 1 h w")
    before: object = image
    is_chain = True
    for _, given, made in calls:
        is_chain &= given is before
        before = made
    is_chain &= output is before
    return Trace(tuple(layer for layer, _, _ in calls), is_chain, tuple(image.shape), tuple(output.shape))


def seen_by_gradient(network: nn.Module, n_channels: int, side: int, index: int) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom edge of what a value in row and column `index` sees of an image of `side` pixels.

    None where it sees nothing at all, or there is no such value.
    """
    skeleton = _skeleton(network)
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        image = torch.ones(1, n_channels, side, side, dtype=torch.float64, requires_grad=True)
        output = skeleton(image.clone())
        if index >= min(output.shape[-2:]):
            return None
        (gradient,) = torch.autograd.grad(output[0, :, index, index].sum(), image, allow_unused=True)
    seen = gradient[0].abs().sum(dim=0) > 0 if gradient is not None else torch.zeros(side, side)
    rows, columns = seen.any(dim=1).nonzero().flatten().tolist(), seen.any(dim=0).nonzero().flatten().tolist()
    return (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if rows else None


def _skeleton(network: nn.Module) -> nn.Module:
    """A copy on the CPU, in float64 and evaluation mode, that looks at the same places and is cheap to run.

    A convolution takes the mean over its places and channels, so that nothing cancels and its cost does not depend on
    the number of channels; a maximum becomes a mean; layers that look at no neighbours do nothing. Weights are not
    copied: each is one number.
    """
    memo: dict[int, object] = {}
    for tensor in (*network.parameters(), *network.buffers()):
        floating = tensor.is_floating_point()
        # Outputs of about 1 for inputs of 1, so that no activation is saturated.
        value = 1 / math.prod(tensor.shape[1:]) if tensor.ndim > 1 else 0.1
        dtype = torch.float64 if floating else tensor.dtype
        constant = torch.full((), value if floating else 0, dtype=dtype).expand(tensor.shape)
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(constant, requires_grad=False) if is_parameter else constant
    skeleton = copy.deepcopy(network, memo).eval()
    for layer in skeleton.modules():
        if isinstance(layer, POINTWISE):
            layer.forward = partial(_unchanged)  # type: ignore[method-assign]
        elif isinstance(layer, nn.Conv2d):
            layer.forward = partial(_mean_convolution, layer)  # type: ignore[method-assign]
        elif isinstance(layer, nn.MaxPool2d):
            layer.forward = partial(_mean_pool, layer)  # type: ignore[method-assign]
    return skeleton


def _unchanged(image: Tensor) -> Tensor:
    return image


def _mean_convolution(layer: nn.Conv2d, image: Tensor) -> Tensor:
    if image.shape[1] != layer.in_channels:
        raise ValueError(f"a convolution of {layer.in_channels} channels is given {image.shape[1]}")
    n, size = layer.groups, layer.kernel_size
    kernel = torch.full((n, 1, *size), 1 / math.prod(size), dtype=image.dtype)
    means = image.reshape(len(image), n, -1, *image.shape[2:]).mean(dim=2)
    made = F.conv2d(means, kernel, None, layer.stride, layer.padding, layer.dilation, n)
    return made.repeat_interleave(layer.out_channels // n, dim=1)


def _mean_pool(layer: nn.MaxPool2d, image: Tensor) -> Tensor:
    size = layer.kernel_size if isinstance(layer.kernel_size, tuple) else (layer.kernel_size, layer.kernel_size)
    kernel = torch.full((image.shape[1], 1, *size), 1 / math.prod(size), dtype=image.dtype)
    return F.conv2d(image, kernel, None, layer.stride, layer.padding, layer.dilation, image.shape[1])
