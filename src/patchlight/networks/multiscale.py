"""The multi-scale discriminator of pix2pixHD: PatchGANs of the same kind that look at an image at several sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from patchlight.networks.base import Discriminator
from patchlight.networks.layers import NEGATIVE_SLOPE, halve, require_at_least
from patchlight.networks.norms import Norm, norm_layers

MAX_FILTERS = 512
"""Filters double with each layer and stop at this number, whatever `ndf` is."""


class MultiscaleDiscriminator(Discriminator):
    """Several PatchGANs with weights of their own, each of which sees the image at half the size of the one before.

    Shapes: (B, in_channels, H, W) -> `num_scales` maps of logits B 1 h w, of the full resolution first. Convolutions
    pad by 2, so that every size leaves a map. Each logit sees a square of 70 pixels for `n_layers` 3, of the image at
    the size of its scale.

    Raises:
        ValueError: an argument out of range, or an image that leaves a single pixel of the smallest scale.

    Source: Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", section
    3.2 and appendix A.2.
    """

    def __init__(
        self,
        in_channels: PositiveInt,
        ndf: PositiveInt = 64,
        n_layers: Annotated[int, Field(ge=1, le=16)] = 3,
        num_scales: Annotated[int, Field(ge=1, le=8)] = 2,
        norm: Norm = "instance",
    ) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("ndf", ndf), ("n_layers", n_layers)):
            require_at_least(name, value, 1)
        require_at_least("num_scales", num_scales, 1)
        self.num_scales = self.n_maps = num_scales
        self.min_size = 2 ** (num_scales - 1) + 1
        # The coarsest first, so that finer ones can be added to those of a training at a lower resolution.
        self.scales = nn.ModuleList(_patchgan(in_channels, ndf, n_layers, norm) for _ in range(num_scales))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(scale(seen) for scale, seen in self._seen(image))

    def features(self, image: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """For each scale what its layers make of the image, after their activations, with the map as the last."""
        found = []
        for scale, seen in self._seen(image):
            made = [seen]
            for layer in scale:
                made.append(layer(made[-1]))
            found.append(tuple(made[1:]))
        return tuple(found)

    def initial_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of a discriminator with fewer scales, each sees what it saw at a lower resolution; the others begin anew."""
        first = {key for key in self.state_dict() if key.startswith("scales.0.")}
        given = {key.split(".")[1] for key in state if key.startswith("scales.")}
        if first <= state.keys() and given < {str(i) for i in range(self.num_scales)}:
            return {**self.state_dict(), **state}
        return dict(state)

    def _seen(self, image: Tensor) -> Iterator[tuple[nn.Sequential, Tensor]]:
        """Each scale, the finest first, with the image that it sees."""
        height, width = image.shape[-2:]
        if min(height, width) < self.min_size:
            raise ValueError(
                f"num_scales={self.num_scales} leaves a single pixel of a {height}x{width} image: it needs at least "
                f"{self.min_size} pixels a side, or fewer scales"
            )
        for scale in reversed(self.scales):
            assert isinstance(scale, nn.Sequential)
            yield scale, image
            if scale is not self.scales[0]:
                image = halve(image)


def _patchgan(in_channels: int, ndf: int, n_layers: int, norm: Norm) -> nn.Sequential:
    """Groups of a convolution, a norm and an activation; `n_layers` halve the image, and the last makes the map."""
    widths = [in_channels, *(min(ndf * 2**i, MAX_FILTERS) for i in range(n_layers + 1))]
    groups = [
        nn.Sequential(
            nn.Conv2d(widths[i], widths[i + 1], kernel_size=4, stride=2 if i < n_layers else 1, padding=2),
            *(norm_layers(norm, widths[i + 1]) if i > 0 else []),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
        )
        for i in range(n_layers + 1)
    ]
    return nn.Sequential(*groups, nn.Sequential(nn.Conv2d(widths[-1], 1, kernel_size=4, stride=1, padding=2)))
