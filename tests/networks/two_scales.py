"""A discriminator with two maps, as someone's own module would have it."""

from __future__ import annotations

from torch import Tensor, nn

from patchlight.networks import Discriminator, PatchDiscriminator


class TwoScales(Discriminator):
    """Two PatchGANs, of which the second sees the image at half its size: fields of 16 and 32 pixels."""

    def __init__(
        self, in_channels: int, ndf: int = 4, n_layers: int = 1, norm: str = "none", spectral_norm: bool = False
    ) -> None:
        super().__init__()
        self.fine, self.coarse = (
            PatchDiscriminator(in_channels, ndf, n_layers, norm, spectral_norm)  # type: ignore[arg-type]
            for _ in range(2)
        )
        self.down = nn.AvgPool2d(2)
        self.min_size = 2 * self.coarse.min_size

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.fine(image), self.coarse(self.down(image))

    def features(self, image: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        return *self.fine.features(image), *self.coarse.features(self.down(image))
