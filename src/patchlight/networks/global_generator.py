"""The generators of pix2pixHD: a global one, and local enhancers that add detail at twice its resolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from patchlight.networks.base import Generator, recomputed
from patchlight.networks.layers import ReflectionPad2d, halve, require_at_least
from patchlight.networks.norms import Norm, norm_layers
from patchlight.networks.residual import ResidualBlock, sections

Depth = Annotated[int, Field(ge=1, le=16)]


class GlobalGenerator(Generator):
    """Residual generator with `n_downsampling` halvings, `n_blocks` residual blocks and as many doublings.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, H, W), values in [-1, 1] (tanh). H and W are multiples of
    2^n_downsampling, and at least twice that. The residual blocks are ngf 2^n_downsampling wide; `dropout` of 0.5 acts
    in them. All convolutions have a bias.

    Raises:
        ValueError: an argument out of range, or an image of another size.

    Source: Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", section
    3.2 and appendix A.2; Johnson et al. 2016.
    """

    def __init__(
        self,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        ngf: PositiveInt = 64,
        n_downsampling: Depth = 4,
        n_blocks: NonNegativeInt = 9,
        norm: Norm = "instance",
        dropout: bool = False,
    ) -> None:
        super().__init__()
        require_at_least("in_channels", in_channels, 1)
        require_at_least("out_channels", out_channels, 1)
        self.size_multiple = 2**n_downsampling
        self.min_size = 2 * self.size_multiple  # or there would be a single pixel, which has no variance
        self.trunk = _trunk(in_channels, ngf, n_downsampling, n_blocks, norm, dropout)
        self.head = _head(ngf, out_channels)
        self._recompute = False

    def recompute_features(self) -> None:
        self._recompute = True

    def forward(self, image: Tensor) -> Tensor:
        _require_size(image, self.size_multiple)
        return _run(self.head, _run(self.trunk, image, self._recompute), self._recompute)


class LocalEnhancer(Generator):
    """A global generator at a lower resolution, and `n_local_enhancers` that each double it.

    The global generator, `coarse`, is ngf 2^n_local_enhancers wide and has no last layer: its features go to the first
    enhancer, which adds to them what it makes of the image at twice the size, and so on. Shapes: (B, in_channels, H, W)
    -> (B, out_channels, H, W), values in [-1, 1] (tanh). H and W are multiples of
    2^(n_downsampling + n_local_enhancers), and at least twice that.

    It begins with the weights of a trained `GlobalGenerator` by `initial_state`, and is then trained as a whole.

    Raises:
        ValueError: an argument out of range, or an image of another size.

    Source: Wang et al. 2018, section 3.2, "Coarse-to-fine generator", and appendix A.2.
    """

    def __init__(
        self,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        ngf: PositiveInt = 32,
        n_downsampling: Depth = 4,
        n_blocks: NonNegativeInt = 9,
        n_local_enhancers: Annotated[int, Field(ge=1, le=4)] = 1,
        n_blocks_local: NonNegativeInt = 3,
        norm: Norm = "instance",
        dropout: bool = False,
    ) -> None:
        super().__init__()
        require_at_least("in_channels", in_channels, 1)
        require_at_least("out_channels", out_channels, 1)
        require_at_least("n_local_enhancers", n_local_enhancers, 1)
        self.size_multiple = 2 ** (n_downsampling + n_local_enhancers)
        self.min_size = 2 * self.size_multiple
        self.coarse = _trunk(in_channels, ngf * 2**n_local_enhancers, n_downsampling, n_blocks, norm, dropout)
        widths = [ngf * 2 ** (n_local_enhancers - n) for n in range(1, n_local_enhancers + 1)]
        self.enhancers = nn.ModuleList(_Enhancer(in_channels, width, n_blocks_local, norm, dropout) for width in widths)
        self.head = _head(ngf, out_channels)
        self._recompute = False

    def recompute_features(self) -> None:
        self._recompute = True

    def initial_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a `GlobalGenerator` become the coarse part's; its last layer is left out, the rest begins anew."""
        trunk = {key.removeprefix("trunk."): value for key, value in state.items() if key.startswith("trunk.")}
        if not trunk:
            return dict(state)
        return {**self.state_dict(), **{f"coarse.{key}": value for key, value in trunk.items()}}

    def forward(self, image: Tensor) -> Tensor:
        _require_size(image, self.size_multiple)
        images = [image]
        for _ in self.enhancers:
            images.append(halve(images[-1]))
        features = _run(self.coarse, images.pop(), self._recompute)
        for enhancer in self.enhancers:
            assert isinstance(enhancer, _Enhancer)
            features = _run(enhancer.up, _run(enhancer.down, images.pop(), self._recompute) + features, self._recompute)
        return _run(self.head, features, self._recompute)


class _Enhancer(nn.Module):
    """What makes features 2w wide, of half the size, of an image, and what brings them back to its size, w wide."""

    def __init__(self, in_channels: int, width: int, n_blocks: int, norm: Norm, dropout: bool) -> None:
        super().__init__()
        self.down = nn.Sequential(*_entrance(in_channels, width, norm), *_halving(width, norm))
        self.up = nn.Sequential(*_blocks(2 * width, n_blocks, norm, dropout), *_doubling(2 * width, norm))


def _trunk(
    in_channels: int, ngf: int, n_downsampling: int, n_blocks: int, norm: Norm, dropout: bool
) -> nn.Sequential:  # fmt: skip
    """A global generator without its last layer: features ngf wide of the size of the image."""
    require_at_least("ngf", ngf, 1)
    require_at_least("n_downsampling", n_downsampling, 1)
    require_at_least("n_blocks", n_blocks, 0)
    layers = _entrance(in_channels, ngf, norm)
    for i in range(n_downsampling):
        layers += _halving(ngf * 2**i, norm)
    layers += _blocks(ngf * 2**n_downsampling, n_blocks, norm, dropout)
    for i in range(n_downsampling, 0, -1):
        layers += _doubling(ngf * 2**i, norm)
    return nn.Sequential(*layers)


def _entrance(in_channels: int, width: int, norm: Norm) -> list[nn.Module]:
    return [ReflectionPad2d(3), nn.Conv2d(in_channels, width, 7), *norm_layers(norm, width), nn.ReLU(inplace=True)]


def _halving(width: int, norm: Norm) -> list[nn.Module]:
    convolution = nn.Conv2d(width, 2 * width, kernel_size=3, stride=2, padding=1)
    return [convolution, *norm_layers(norm, 2 * width), nn.ReLU(inplace=True)]


def _blocks(width: int, n_blocks: int, norm: Norm, dropout: bool) -> list[nn.Module]:
    return [ResidualBlock(width, norm=norm, dropout=dropout, padding="reflect", bias=True) for _ in range(n_blocks)]


def _doubling(width: int, norm: Norm) -> list[nn.Module]:
    convolution = nn.ConvTranspose2d(width, width // 2, kernel_size=3, stride=2, padding=1, output_padding=1)
    return [convolution, *norm_layers(norm, width // 2), nn.ReLU(inplace=True)]


def _head(width: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(ReflectionPad2d(3), nn.Conv2d(width, out_channels, kernel_size=7), nn.Tanh())


def _run(layers: nn.Module, image: Tensor, recompute: bool) -> Tensor:
    """The layers' output; if it is to be computed again, section by section, so that few features are kept."""
    assert isinstance(layers, nn.Sequential)
    if not recompute:
        result: Tensor = layers(image)
        return result
    for section in sections(layers):
        image = recomputed(section, image)
    return image


def _require_size(image: Tensor, multiple: int) -> None:
    height, width = image.shape[-2:]
    if height % multiple or width % multiple or min(height, width) < 2 * multiple:
        raise ValueError(
            f"image sides must be multiples of {multiple}, and at least {2 * multiple}, got {height}x{width}"
        )
