"""A forward pass of a copy of a network in which every layer looks at its neighbours and none can hide them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from patchlight.networks.maps import as_maps

POINTWISE = frozenset({
    "relu", "relu_", "leaky_relu", "leaky_relu_", "rrelu", "prelu", "elu", "elu_", "celu", "selu", "gelu", "silu",
    "mish", "softplus", "softsign", "logsigmoid", "tanh", "sigmoid", "hardswish", "hardsigmoid", "hardtanh",
    "hardtanh_", "relu6", "clamp", "clamp_", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
    "feature_alpha_dropout", "batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm", "contiguous",
    "clone", "to", "type", "float", "double", "half", "bfloat16",
})  # fmt: skip
"""Functions that look at no neighbours, by name. The statistics of norms, which come from the whole image, do not
count."""


class Step(NamedTuple):
    """How a layer looks at neighbours."""

    kernel: int
    stride: int
    padding: int
    dilation: int


@dataclass(frozen=True)
class Trace:
    """What a forward pass made of an image, B C H W, from which gradients flow to it.

    `chains` has for each map the steps that lead to it from the image, one after the other, or None where something
    else is done on the way.
    """

    image: Tensor
    maps: tuple[Tensor, ...]
    chains: tuple[tuple[Step, ...] | None, ...]

    def seen_by(self, number: int, row: int, column: int) -> tuple[int, int, int, int]:
        """Top, bottom, left and right edge of what one value of a map sees; zeros for nothing."""
        value = self.maps[number][0, :, row, column].sum()
        if not value.requires_grad:
            return 0, 0, 0, 0
        (gradient,) = torch.autograd.grad(value, self.image, retain_graph=True, allow_unused=True)
        if gradient is None or not (seen := gradient[0].abs().sum(dim=0) > 0).any():
            return 0, 0, 0, 0
        rows, columns = seen.any(dim=1).nonzero().flatten().tolist(), seen.any(dim=0).nonzero().flatten().tolist()
        return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def random_image(n_channels: int, height: int, width: int) -> Tensor:
    """An image, 1 C H W, of values between 0.5 and 1.5, the same each time."""
    random = torch.Generator().manual_seed(0)
    return torch.rand(1, n_channels, height, width, generator=random, dtype=torch.float64) + 0.5


def trace(network: nn.Module, image: Tensor) -> Trace:
    """Send an image, 1 C H W in float64, through a skeleton, whose layers weigh all that they look at positively.

    It is called where gradients are computed.

    Raises:
        Exception: whatever the network raises, which may be anybody's.
    """
    tracer = _Tracer()
    with torch.random.fork_rng(devices=[]):
        image = image.clone().requires_grad_(True)
        begin = image * 1  # layers that work in place may not have the image itself
        tracer.chains[begin] = ()
        with tracer:
            output = network(begin)
    maps = as_maps(output)
    return Trace(image, maps, tuple(tracer.chain_of(x) for x in maps))


class _Tracer(TorchFunctionMode):
    """Runs functions of PyTorch so that gradients show all that they look at, and follows the steps of each tensor.

    A convolution makes all its channels of one mean over its places and channels, so that its cost does not depend on
    their number. It has positive random weights, so that nothing cancels, and shifts the channels, so that their norm
    differs. A maximum becomes such a mean; what looks at no neighbours does nothing. All else is run as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.chains: MutableMapping[Tensor, tuple[Step, ...] | None] = WeakIdKeyDictionary()
        self.is_tree = True
        """Whether no tensor was changed after it was made, which the steps of others would not show."""
        self._random = torch.Generator().manual_seed(0)

    def chain_of(self, tensor: Tensor) -> tuple[Step, ...] | None:
        """The steps that lead to a tensor from the image; None where something else is done on the way."""
        return self.chains[tensor] if self.is_tree and tensor in self.chains else None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [x for x in _tensors((*args, *kwargs.values())) if x.requires_grad or x in self.chains]
        if not given:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        is_layer = len(given) == 1 and given[0] is (args[0] if args else kwargs.get("input"))
        if is_layer and name in POINTWISE:
            return given[0]
        step: Step | None = None
        if is_layer and name in STEPS:
            result, step = STEPS[name](self._random, *args, **kwargs)
        else:
            result = func(*args, **kwargs)
            self.is_tree &= not (name == "__setitem__" or name.startswith("__i") or name.rstrip("_") + "_" == name)
        for made in _tensors((result,)):
            before = self.chain_of(given[0])
            self.chains[made] = (*before, step) if step is not None and before is not None else None
        return result


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


Sizes = int | list[int] | tuple[int, ...]


def _convolution(
    random: torch.Generator, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1,
    padding: Sizes | str = 0, dilation: Sizes = 1, groups: int = 1,
) -> tuple[Tensor, Step | None]:  # fmt: skip
    if input.shape[1] != weight.shape[1] * groups:
        raise ValueError(f"a convolution of {weight.shape[1] * groups} channels is given {input.shape[1]}")
    size = tuple(weight.shape[2:])
    support = weight.detach().abs().reshape(groups, -1, *size).mean(dim=1, keepdim=True).to(input)
    kernel = support * _positive(size, random).to(input)
    kernel = kernel / kernel.sum(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(kernel.dtype).tiny)
    means = input.reshape(len(input), groups, -1, *input.shape[2:]).mean(dim=2)
    made = F.conv2d(means, kernel, None, stride, padding, dilation, groups)
    # A fixed filter may be smaller than its kernel.
    reaches = all(edge.any() for edge in (support[..., 0], support[..., -1], support[..., 0, :], support[..., -1, :]))
    step = _step(size, stride, _padding(padding, size, dilation), dilation) if reaches else None
    scale, shift = (_positive((len(weight) // groups, 1, 1), random).to(input) for _ in range(2))
    return (made.unsqueeze(2) * scale + shift).flatten(1, 2), step


def _max_pool(
    random: torch.Generator, input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False,
) -> tuple[Tensor, Step | None]:  # fmt: skip
    stride = stride or kernel_size
    if ceil_mode and dilation == 1:
        return F.avg_pool2d(input, kernel_size, stride, padding, ceil_mode), None
    size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
    kernel = _positive(size, random).to(input)[None, None] / math.prod(size)
    made = F.conv2d(input.flatten(0, 1)[:, None], kernel, None, stride, padding, dilation)
    step = None if ceil_mode else _step(kernel_size, stride, padding, dilation)
    return made.reshape(*input.shape[:2], *made.shape[2:]), step


def _average_pool(
    random: torch.Generator, input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> tuple[Tensor, Step | None]:  # fmt: skip
    stride = stride or kernel_size
    made = F.avg_pool2d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return made, None if ceil_mode else _step(kernel_size, stride, padding, 1)


def _pad(
    random: torch.Generator, input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> tuple[Tensor, Step | None]:
    made = F.pad(input, list(pad), mode, value)
    is_even = len(pad) == 4 and len(set(pad)) == 1 and pad[0] >= 0 and mode != "circular"
    return made, Step(1, 1, pad[0], 1) if is_even else None


def _pixel_unshuffle(random: torch.Generator, input: Tensor, downscale_factor: int) -> tuple[Tensor, Step | None]:
    return F.pixel_unshuffle(input, downscale_factor), Step(downscale_factor, downscale_factor, 0, 1)


STEPS: Mapping[str, Callable[..., tuple[Tensor, Step | None]]] = {
    "conv2d": _convolution,
    "max_pool2d": _max_pool,
    "avg_pool2d": _average_pool,
    "pad": _pad,
    "pixel_unshuffle": _pixel_unshuffle,
}
"""Functions whose steps are known, by name: what is run in their place, which may be none that is square and even."""


def _positive(size: tuple[int, ...], random: torch.Generator) -> Tensor:
    return torch.rand(size, generator=random, dtype=torch.float64) + 0.5


def _step(kernel: Sizes, stride: Sizes, padding: Sizes | None, dilation: Sizes) -> Step | None:
    """None where it is not the same in both directions."""
    if padding is None:
        return None
    sides = [{value} if isinstance(value, int) else set(value) for value in (kernel, stride, padding, dilation)]
    return Step(*(side.pop() for side in sides)) if all(len(side) == 1 for side in sides) else None


def _padding(padding: Sizes | str, kernel: Sequence[int], dilation: Sizes) -> Sizes | None:
    """In pixels; None where it is not the same on both sides."""
    if not isinstance(padding, str):
        return padding
    dilations = [dilation] * 2 if isinstance(dilation, int) else list(dilation)
    totals = [0 if padding == "valid" else d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    return None if any(total % 2 for total in totals) else [total // 2 for total in totals]
