"""What residual generators have in common: a pass through their layers, and their residual blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from patchlight.networks.base import Generator, recomputed
from patchlight.networks.generator_layers import SelfAttention
from patchlight.networks.layers import BlurDownsample, ReflectionPad2d
from patchlight.networks.norms import InstanceNorm2d, Norm, bias_before, norm_layers
from patchlight.networks.winograd import WinogradConv2d, may_transform, pays

Padding = Literal["reflect", "replicate", "zero"]

Block = Literal["residual", "separable"]
"""The convolutions of the residual blocks: whole, or depthwise-separable."""


REPEATABLE = (ReflectionPad2d, nn.ReplicationPad2d, InstanceNorm2d, BlurDownsample, nn.Upsample)
"""Layers without chance or state that are not in place; nor is a ReLU behind them, for what it changes is theirs."""


class ResidualGenerator(Generator):
    """The layers of a residual generator in use, whose blocks work at a quarter of the image's height and width."""

    size_multiple = 4

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self._recompute = False
        blocks = [layer for layer in layers if isinstance(layer, ResidualBlock)]
        outer = [layer for layer in layers if isinstance(layer, WinogradConv2d)]
        self._block_width = blocks[0].channels if blocks else 0
        # Convolutions that another layer doubles or halves the resolution beside.
        self._outer_width = min((layer.width for layer in outer), default=0)

    def recompute_features(self) -> None:
        self._recompute = True

    def forward(
        self, image: Tensor, layers: Sequence[int] = (), encode_only: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]] | list[Tensor]:
        """The translated image; with `layers` also their features, see `encode`, or with `encode_only` these alone."""
        height, width = image.shape[-2:]
        if height % self.size_multiple or width % self.size_multiple:
            raise ValueError(f"image sides must be multiples of {self.size_multiple}, got {height}x{width}")
        transforms = pays(image, self._block_width, height // 4, width // 4) or pays(
            image, self._outer_width, height // 2, width // 2
        )
        if transforms:
            # In this layout tiles are cut without transposing anything.
            image = image.contiguous(memory_format=torch.channels_last)
        if not layers:
            translated = self._through(0, len(self.layers), image)
            return translated.contiguous() if transforms else translated
        translated, features = self._with_features(image, layers, encode_only)
        if encode_only:
            return features
        return (translated.contiguous() if transforms else translated), features

    def encode(self, image: Tensor, layers: Sequence[int]) -> list[Tensor]:
        found: list[Tensor] = self(image, tuple(layers), encode_only=True)
        return found

    def translate_and_encode(self, layers: Sequence[int], *inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        found: tuple[Tensor, list[Tensor]] = self(*inputs, tuple(layers))
        return found

    def layer_numbers(self) -> list[int]:
        """The number of each of `layers` in the reference code, where a norm that is left out has a number, too.

        Self-attention, which the reference code has not, has the number of the layer before it.
        """
        convolutions = [layer for layer in self.layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
        has_norm = any(isinstance(m, nn.BatchNorm2d | nn.SyncBatchNorm | nn.InstanceNorm2d) for m in self.modules())
        numbers: list[int] = []
        number = 0
        for layer in self.layers:
            if isinstance(layer, SelfAttention):
                numbers.append(numbers[-1])
                continue
            numbers.append(number)
            is_inner = isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer is not convolutions[-1]
            number += 1 if has_norm or not is_inner else 2
        return numbers

    def _with_features(self, image: Tensor, layers: Sequence[int], encode_only: bool) -> tuple[Tensor, list[Tensor]]:
        """What the layers make of an image in the end, or up to the last of `layers`, and the features on the way."""
        features: list[Tensor] = []
        begin, ends = 0, self._feature_ends(layers)
        for end in ends:
            image = self._through(begin, end, image)
            features.append(image)
            begin = end
        if encode_only:
            return image, features
        if isinstance(self.layers[begin] if begin < len(self.layers) else None, nn.ReLU):
            image = image.clone()  # for it works in place
        return self._through(begin, len(self.layers), image), features

    def _feature_ends(self, layers: Sequence[int]) -> list[int]:
        """Behind which of `self.layers` each feature is taken."""
        numbers, wanted = self.layer_numbers(), sorted(set(layers))
        if not 0 <= wanted[0] <= wanted[-1] <= numbers[-1]:
            raise ValueError(f"layers are numbers from 0 to {numbers[-1]} in this generator, got {list(layers)}")
        # In Python alone, for what the compiler cannot read, such as `bisect`, cuts the network in two.
        ends = [sum([own <= number for own in numbers]) for number in wanted]
        # In the reference code a ReLU works in place, on the feature before it too; the last one's pass ends before it.
        return [end + isinstance(self.layers[end], nn.ReLU) for end in ends[:-1]] + ends[-1:]

    def _through(self, begin: int, end: int, image: Tensor) -> Tensor:
        """What the layers from one position up to another make of features."""
        if not self._recompute:
            return through_tiles(self.layers[begin:end], image)
        for section in sections(self.layers[begin:end]):
            image = recomputed(section, image)
        return image


def through_tiles(layers: nn.Sequential, features: Tensor) -> Tensor:
    """What layers make of features, B C H W, whose convolutions by way of tiles keep as little as they can.

    For its backward pass such a convolution computes again what leads from the convolution before to it: norm,
    activation, padding, filter and interpolation, of which nothing is kept.
    """
    made: Tensor
    if not may_transform(features):
        made = layers(features)
        return made
    before: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, WinogradConv2d) and pays(features, layer.width, *_scaled(before, features)):
            features = layer.convolve(features, nn.Sequential(*before) if before else None)
            before = []
        elif isinstance(layer, REPEATABLE) or (before and isinstance(layer, nn.ReLU)):
            before.append(layer)
        else:
            features, before = nn.Sequential(*before, layer)(features), []
    made = nn.Sequential(*before)(features)
    return made


def _scaled(before: Sequence[nn.Module], features: Tensor) -> tuple[int, int]:
    """The height and width of features behind these layers, without their padding."""
    height, width = features.shape[-2:]
    for layer in before:
        if isinstance(layer, BlurDownsample):
            height, width = -(-height // 2), -(-width // 2)
        elif isinstance(layer, nn.Upsample):
            height, width = 2 * height, 2 * width
    return height, width


def sections(layers: nn.Sequential) -> list[nn.Sequential]:
    """The layers in groups, each from a convolution (and the padding or interpolation before it) to the next."""
    begins = nn.Conv2d | nn.ConvTranspose2d | ResidualBlock | SeparableResidualBlock | SelfAttention
    before = ReflectionPad2d | nn.Upsample
    starts = [
        i
        for i, layer in enumerate(layers)
        if i == 0 or (isinstance(layer, begins | before) and not isinstance(layers[i - 1], before))
    ]
    return [layers[start:end] for start, end in zip(starts, [*starts[1:], len(layers)], strict=True)]


def residual_blocks(
    n_blocks: int, channels: int, *, block: Block, norm: Norm, dropout: bool, padding: Padding, attention: bool
) -> list[nn.Module]:
    """Residual blocks one after the other, with self-attention after the first half of them if asked for.

    Raises:
        ValueError: an unknown block, norm or padding.
    """
    if block not in get_args(Block):
        raise ValueError(f"block must be one of {', '.join(get_args(Block))}, got {block!r}")
    kind = ResidualBlock if block == "residual" else SeparableResidualBlock
    blocks: list[nn.Module] = [kind(channels, norm=norm, dropout=dropout, padding=padding) for _ in range(n_blocks)]
    if attention:
        blocks.insert((n_blocks + 1) // 2, SelfAttention(channels))
    return blocks


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions of the same width, added to their input: (B, channels, H, W) -> the same shape.

    `bias` is that of the convolutions, by default as `norm` needs it.

    Source: He et al. 2016, without the ReLU after the sum (Gross and Wilber 2016).
    """

    def __init__(
        self, channels: int, norm: Norm, dropout: bool, padding: Padding, bias: bool | None = None
    ) -> None:  # fmt: skip
        super().__init__()
        self.channels = channels
        bias = bias_before(norm) if bias is None else bias
        self.layers = nn.Sequential(
            *_padding_layers(padding),
            WinogradConv2d(channels, channels, padding=_zero_padding(padding), bias=bias),
            *norm_layers(norm, channels),
            nn.ReLU(inplace=True),
            *([nn.Dropout(0.5)] if dropout else []),
            *_padding_layers(padding),
            WinogradConv2d(channels, channels, padding=_zero_padding(padding), bias=bias),
            *norm_layers(norm, channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + through_tiles(self.layers, features)


class SeparableResidualBlock(nn.Module):
    """Two depthwise-separable 3x3 convolutions, added to their input: (B, channels, H, W) -> the same shape.

    Each is a 3x3 convolution of every channel by itself, a norm, and a 1x1 convolution, which together have 9 + C
    multiplications for a value in place of 9 C.

    Source: Howard et al. 2017, "MobileNets", section 3.1; Li et al. 2020, "GAN Compression: Efficient Architectures for
    Interactive Conditional GANs", section 3.2, for the residual blocks.
    """

    def __init__(self, channels: int, norm: Norm, dropout: bool, padding: Padding) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_separable(channels, norm, padding),
            nn.ReLU(inplace=True),
            *([nn.Dropout(0.5)] if dropout else []),
            *_separable(channels, norm, padding),
        )

    def forward(self, features: Tensor) -> Tensor:
        residual: Tensor = self.layers(features)
        return features + residual


def _separable(channels: int, norm: Norm, padding: Padding) -> list[nn.Module]:
    bias = bias_before(norm)
    return [
        *_padding_layers(padding),
        nn.Conv2d(channels, channels, 3, padding=_zero_padding(padding), groups=channels, bias=bias),
        *norm_layers(norm, channels),
        nn.Conv2d(channels, channels, kernel_size=1, bias=bias),
        *norm_layers(norm, channels),
    ]


def _padding_layers(padding: Padding) -> list[nn.Module]:
    match padding:
        case "reflect":
            return [ReflectionPad2d(1)]
        case "replicate":
            return [nn.ReplicationPad2d(1)]
        case "zero":
            return []
    raise ValueError(f"padding must be one of {', '.join(get_args(Padding))}, got {padding!r}")


def _zero_padding(padding: Padding) -> int:
    return 1 if padding == "zero" else 0
