"""A term of the generator's loss: edges of the generated image should be where those of its target are."""

from __future__ import annotations

from torch import Tensor

from patchlight.losses import GeneratorTerm, StepImages


class GradientDifference(GeneratorTerm):
    """The mean | |d fake| - |d real| | of the differences d between neighbouring pixels, in both directions.

    Source: Mathieu et al. 2016, "Deep multi-scale video prediction beyond mean square error", section 3.3.
    """

    needs_pairs = True

    def forward(self, images: StepImages) -> Tensor:
        return (self._along(images, dim=2) + self._along(images, dim=3)) / 2

    @staticmethod
    def _along(images: StepImages, dim: int) -> Tensor:
        return (images.fake.diff(dim=dim).abs() - images.real.diff(dim=dim).abs()).abs().mean()
