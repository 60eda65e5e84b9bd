"""Layers of the networks: reflection padding, low-pass filters, pixel-shuffle, spectral norm; and initial weights."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

NEGATIVE_SLOPE = 0.2
"""Slope of the LeakyReLU in encoders and discriminators (Isola et al. 2017, appendix 6.1)."""

Antialias = Literal["none", "down", "up", "both"]
"""Which of the two changes of resolution is filtered."""

InitType = Literal["normal", "xavier", "kaiming", "orthogonal"]


def require_at_least(name: str, value: int, minimum: int) -> None:
    """Raise a ValueError that names the argument if it is not an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")


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


class BlurDownsample(nn.Module):
    """Every second pixel of maps that were blurred with the binomial filter 1 2 1: (B, C, H, W) -> (B, C, H/2, W/2).

    Source: Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", section 3.2 (Triangle-3).
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.pad = ReflectionPad2d(1)
        # A constant, which no checkpoint needs to hold.
        self.register_buffer("kernel", binomial(3)[None, None], persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        channels = features.shape[1]
        kernel = self.kernel.to(features.dtype).expand(channels, 1, -1, -1)
        return F.conv2d(self.pad(features), kernel, stride=2, groups=channels)


class BlurUpsample(nn.Upsample):
    """Maps of twice the height and width, blurred with the binomial filter 1 3 3 1: (B, C, H, W) -> (B, C, 2H, 2W).

    Of zeros between the pixels that filter makes 3/4 of the nearer and 1/4 of the farther pixel, which is bilinear
    interpolation. At the edge, pixels are repeated.

    Source: Zhang 2019, section 3.2; Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation".
    """

    def __init__(self) -> None:
        super().__init__(scale_factor=2, mode="bilinear", align_corners=False)


class PixelShuffleConv2d(nn.Conv2d):
    """A 3x3 convolution whose channels become the pixels of larger maps, of `factor` times the height and width.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, factor H, factor W), with a padding of 1. At the start all
    pixels of a place have the same kernel, as if the place were enlarged, so that there is no checkerboard to be
    unlearnt; `init_weights` keeps it so.

    Source: Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network", section 3.2; Aitken et al. 2017, "Checkerboard artifact free sub-pixel convolution",
    section 2.3, for the start (ICNR).
    """

    def __init__(self, in_channels: int, out_channels: int, factor: int, padding: int = 1, bias: bool = True) -> None:
        super().__init__(in_channels, factor**2 * out_channels, kernel_size=3, padding=padding, bias=bias)
        self.factor = factor
        self.share_kernels()

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(super().forward(input), self.factor)

    @property
    def first_kernels(self) -> Tensor:
        """The kernels of the first pixel of each place, without a gradient: (out_channels, in_channels, 3, 3)."""
        return self.weight.detach()[:: self.factor**2]

    @torch.no_grad()
    def share_kernels(self) -> None:
        """Give all pixels of a place the kernel and the bias of the first."""
        for tensor in (self.weight, self.bias):
            if tensor is not None:
                tensor.copy_(tensor[:: self.factor**2].repeat_interleave(self.factor**2, dim=0))


def binomial(taps: int) -> Tensor:
    """The binomial filter in two dimensions, `taps` x `taps`, of sum 1."""
    row = torch.ones(1)
    for _ in range(taps - 1):
        row = F.pad(row, (0, 1)) + F.pad(row, (1, 0))
    kernel = row[:, None] * row[None, :]
    return kernel / kernel.sum()


def halve(image: Tensor) -> Tensor:
    """The mean of 3 x 3 pixels around every second one, at the edge of those that are there: B C H W -> B C H/2 W/2.

    Odd sides are rounded up.

    Source: Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", section
    3.2, the image pyramids.
    """
    return F.avg_pool2d(image, kernel_size=3, stride=2, padding=1, count_include_pad=False)


def normalise_spectrum(network: nn.Module) -> None:
    """Divide the weight of every convolution of a network by its largest singular value, in place.

    The value is estimated anew, so that it is right for the present weights.

    Source: Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", equation 8.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            spectral_norm(module)


def init_weights(network: nn.Module, init_type: InitType = "normal", gain: PositiveFloat = 0.02) -> None:
    """Draw the initial weights of a network in place.

    Convolutions and linear layers: `normal` is N(0, gain^2), `xavier` is Xavier's normal scaled by the gain,
    `kaiming` is He's normal over the fan-in and has no gain, `orthogonal` is a scaled orthogonal matrix; biases are 0.
    Batch norm: scale N(1, gain^2), shift 0. Under spectral norm these are the weights before it. The pixels that a
    `PixelShuffleConv2d` makes of a place share their kernels.

    Raises:
        ValueError: `init_type` is not one of the four names, or the gain is not positive.

    Source: Isola et al. 2017, section 3.3 (normal, 0.02); Glorot and Bengio 2010; He et al. 2015; Saxe et al. 2014.
    """
    if init_type not in get_args(InitType):
        raise ValueError(f"init_type must be one of {', '.join(get_args(InitType))}, got {init_type!r}")
    if gain <= 0:
        raise ValueError(f"gain must be positive, got {gain}")
    for module in list(network.modules()):
        has_spectral_norm = parametrize.is_parametrized(module, "weight")
        if has_spectral_norm:
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            weight = module.first_kernels if isinstance(module, PixelShuffleConv2d) else module.weight
            match init_type:
                case "normal":
                    nn.init.normal_(weight, 0.0, gain)
                case "xavier":
                    nn.init.xavier_normal_(weight, gain=gain)
                case "kaiming":
                    nn.init.kaiming_normal_(weight, a=0, mode="fan_in")
                case "orthogonal":
                    nn.init.orthogonal_(weight, gain=gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            if isinstance(module, PixelShuffleConv2d):
                module.share_kernels()
        elif isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm) and module.affine:
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)
        if has_spectral_norm:
            spectral_norm(module)  # once more, which estimates the singular values of the new weights
