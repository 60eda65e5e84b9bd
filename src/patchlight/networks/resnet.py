"""The residual generator of CycleGAN: two halvings, `n_blocks` residual blocks, two doublings."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from patchlight.networks.base import Generator, recomputed
from patchlight.networks.layers import Antialias, BlurDownsample, BlurUpsample, ReflectionPad2d, require_at_least
from patchlight.networks.norms import Norm, bias_before, norm_layers
from patchlight.networks.winograd import WinogradConv2d, pays

Padding = Literal["reflect", "replicate", "zero"]


class ResNetGenerator(Generator):
    """Residual generator: 6 blocks for 128 pixels and 9 for 256 in the paper.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, H, W), values in [-1, 1] (tanh). H and W are multiples of 4.
    `padding` is that of the residual blocks; the 7x7 convolutions at both ends always pad by reflection. `antialias`
    says which changes of resolution are a low-pass filter beside a convolution of stride 1, in place of a strided one.

    Raises:
        ValueError: an argument out of range, or an image size that is not a multiple of 4.

    Source: Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer"; Zhu et al. 2017, "Unpaired
    Image-to-Image Translation using Cycle-Consistent Adversarial Networks", appendix 7.2; Zhang 2019 for `antialias`.
    """

    size_multiple = 4

    def __init__(
        self,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        n_blocks: NonNegativeInt = 9,
        ngf: PositiveInt = 64,
        norm: Norm = "instance",
        dropout: bool = False,
        padding: Padding = "reflect",
        antialias: Antialias = "none",
    ) -> None:
        super().__init__()
        if antialias not in get_args(Antialias):
            raise ValueError(f"antialias must be one of {', '.join(get_args(Antialias))}, got {antialias!r}")
        require_at_least("in_channels", in_channels, 1)
        require_at_least("out_channels", out_channels, 1)
        require_at_least("n_blocks", n_blocks, 0)
        require_at_least("ngf", ngf, 1)
        bias = bias_before(norm)
        layers: list[nn.Module] = [ReflectionPad2d(3), nn.Conv2d(in_channels, ngf, kernel_size=7, bias=bias)]
        layers += [*norm_layers(norm, ngf), nn.ReLU(inplace=True)]
        for width in (ngf, 2 * ngf):
            blurs = antialias in ("down", "both")
            layers.append(nn.Conv2d(width, 2 * width, kernel_size=3, stride=1 if blurs else 2, padding=1, bias=bias))
            layers += [*norm_layers(norm, 2 * width), nn.ReLU(inplace=True), *([BlurDownsample()] if blurs else [])]
        layers += [ResidualBlock(4 * ngf, norm=norm, dropout=dropout, padding=padding) for _ in range(n_blocks)]
        for width in (4 * ngf, 2 * ngf):
            if antialias in ("up", "both"):
                layers += [BlurUpsample(), nn.Conv2d(width, width // 2, kernel_size=3, padding=1, bias=bias)]
            else:
                layers.append(nn.ConvTranspose2d(width, width // 2, 3, 2, padding=1, output_padding=1, bias=bias))
            layers += [*norm_layers(norm, width // 2), nn.ReLU(inplace=True)]
        layers += [ReflectionPad2d(3), nn.Conv2d(ngf, out_channels, kernel_size=7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self._recompute = False
        self._n_blocks, self._width = n_blocks, 4 * ngf

    def recompute_features(self) -> None:
        self._recompute = True

    def forward(
        self, image: Tensor, layers: Sequence[int] = (), encode_only: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]] | list[Tensor]:
        """The translated image; with `layers` also their features, see `encode`, or with `encode_only` these alone."""
        height, width = image.shape[-2:]
        if height % self.size_multiple or width % self.size_multiple:
            raise ValueError(f"image sides must be multiples of {self.size_multiple}, got {height}x{width}")
        transforms = self._n_blocks > 0 and pays(image, self._width, height // 4, width // 4)
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
        """The number of each of `layers` in the reference code, where a norm that is left out has a number, too."""
        convolutions = [layer for layer in self.layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
        has_norm = any(isinstance(m, nn.BatchNorm2d | nn.SyncBatchNorm | nn.InstanceNorm2d) for m in self.modules())
        numbers, number = [], 0
        for layer in self.layers:
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
        ends = [bisect_right(numbers, number) for number in wanted]
        # In the reference code a ReLU works in place, on the feature before it too; the last one's pass ends before it.
        return [end + isinstance(self.layers[end], nn.ReLU) for end in ends[:-1]] + ends[-1:]

    def _through(self, begin: int, end: int, image: Tensor) -> Tensor:
        """What the layers from one position up to another make of features."""
        if not self._recompute:
            made: Tensor = (self.layers if (begin, end) == (0, len(self.layers)) else self.layers[begin:end])(image)
            return made
        for section in sections(self.layers[begin:end]):
            image = recomputed(section, image)
        return image


def sections(layers: nn.Sequential) -> list[nn.Sequential]:
    """The layers in groups, each from a convolution (and the padding before it) to the next."""
    starts = [
        i
        for i, layer in enumerate(layers)
        if i > 0
        and isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | ReflectionPad2d | ResidualBlock)
        and not isinstance(layers[i - 1], ReflectionPad2d)
    ]
    return [layers[start:end] for start, end in zip([0, *starts], [*starts, len(layers)], strict=True)]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions of the same width, added to their input: (B, channels, H, W) -> the same shape.

    `bias` is that of the convolutions, by default as `norm` needs it.

    Source: He et al. 2016, without the ReLU after the sum (Gross and Wilber 2016).
    """

    def __init__(
        self, channels: int, norm: Norm, dropout: bool, padding: Padding, bias: bool | None = None
    ) -> None:  # fmt: skip
        super().__init__()
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
        if pays(features, features.shape[1], *features.shape[2:]):
            return features + self._transformed(features)
        residual: Tensor = self.layers(features)
        return features + residual

    def _transformed(self, features: Tensor) -> Tensor:
        """The residual by way of tiles, whose padded features are computed again rather than kept."""
        before: list[nn.Module] = []
        for layer in self.layers:
            if isinstance(layer, WinogradConv2d):
                features = layer.convolve(features, nn.Sequential(*before) if before else None)
                before = []
            elif isinstance(layer, ReflectionPad2d | nn.ReplicationPad2d):
                before.append(layer)
            else:
                features, before = nn.Sequential(*before, layer)(features), []
        residual: Tensor = nn.Sequential(*before)(features)
        return residual


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
