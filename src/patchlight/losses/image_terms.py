"""Terms of a generator's loss that look at images themselves: total variation and structural similarity."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, get_args

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import avg_pool2d

from patchlight.losses.terms import GeneratorTerm, StepImages

Against = Literal["target", "source", "cycle"]

SSIM_MIN_SIZE = 6
"""Pixels: half of the window of 11 pixels is mirrored at the edges of an image."""

MS_SSIM_BETAS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_MIN_SIZE = 176
"""Pixels: at the fifth scale the window of 11 pixels must fit into the image."""

CONTRAST_FLOOR = 1e-4
"""The smallest factor of MS-SSIM: a power of 0 has no finite gradient, and one of a negative number no value."""


class TotalVariationTerm(GeneratorTerm):
    """The mean absolute difference of neighbouring pixels of the generated image, of rows and of columns, summed.

    Source: Mahendran and Vedaldi 2015, "Understanding Deep Image Representations by Inverting Them", equation 4, with
    the exponent 1 of each direction.
    """

    min_size = 2

    def forward(self, images: StepImages) -> Tensor:
        return images.fake.diff(dim=2).abs().mean() + images.fake.diff(dim=3).abs().mean()


class ComparisonTerm(GeneratorTerm):
    """A term that compares two images of a step; own ones define `compare`.

    `against` is what the generated image is compared with: its `target`, in methods that learn from pairs, or its
    `source`, the image it was made of; `cycle` compares the source with its reconstruction, in methods with cycles.

    Raises:
        ValueError: another word.
    """

    def __init__(self, weight: NonNegativeFloat = 1.0, interval: PositiveInt = 1, against: Against = "target") -> None:
        super().__init__(weight, interval)
        if against not in get_args(Against):
            raise ValueError(f"against must be one of {', '.join(get_args(Against))}, got {against!r}")
        self.against = against
        self.needs_pairs = against == "target"
        self.needs_cycle = against == "cycle"

    @abstractmethod
    def compare(self, image: Tensor, reference: Tensor) -> Tensor:
        """A scalar, 0 for equal images; both are B C H W in [-1, 1], and gradients flow through the first."""

    def forward(self, images: StepImages) -> Tensor:
        match self.against:
            case "target":
                return self.compare(images.fake, images.real)
            case "source":
                return self.compare(images.fake, images.source)
        assert images.reconstruction is not None
        return self.compare(images.reconstruction, images.source)

    def extra_repr(self) -> str:
        return f"against={self.against}"


class SSIMTerm(ComparisonTerm):
    """1 - SSIM, mean over the images: 0 for equal images, at most 2.

    Source: Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity", equation 13,
    with a Gaussian window of 11 pixels, sigma 1.5, on images in [0, 1].
    """

    min_size = SSIM_MIN_SIZE

    def require_images(self, height: int, width: int, *, channels: tuple[int, int]) -> None:
        super().require_images(height, width, channels=channels)
        if self.against == "source" and channels[0] != channels[1]:
            raise ValueError(
                f"compares an image of {channels[1]} channels with its source, which has {channels[0]}: they should be "
                f"as many"
            )

    def compare(self, image: Tensor, reference: Tensor) -> Tensor:
        # Variances are small differences of squares, which half precision does not have.
        with torch.autocast(image.device.type, enabled=False):
            return 1 - self._similarity((image + 1) / 2, (reference + 1) / 2).mean()

    def _similarity(self, image: Tensor, reference: Tensor) -> Tensor:
        return _ssim(image, reference)[0]


class MSSSIMTerm(SSIMTerm):
    """1 - MS-SSIM over five scales, mean over the images, for images of at least 176 px.

    Where the structure of an image and its reference are opposed at a scale, its factor is `CONTRAST_FLOOR`.

    Source: Wang et al. 2003, "Multiscale Structural Similarity for Image Quality Assessment", equation 7, with the
    exponents of section 3.2.
    """

    min_size = MS_SSIM_MIN_SIZE

    def _similarity(self, image: Tensor, reference: Tensor) -> Tensor:
        result = torch.ones((), dtype=image.dtype, device=image.device)
        for scale, exponent in enumerate(MS_SSIM_BETAS, start=1):
            whole, contrast = _ssim(image, reference)
            factor = whole if scale == len(MS_SSIM_BETAS) else contrast
            result = result * factor.clamp_min(CONTRAST_FLOOR) ** exponent
            image, reference = avg_pool2d(image, 2), avg_pool2d(reference, 2)
        return result


def _ssim(image: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """The SSIM of each image in [0, 1], B, and its part that compares contrast and structure, without luminance."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    found = structural_similarity_index_measure(
        image, reference, data_range=1.0, reduction="none", return_contrast_sensitivity=True
    )
    assert isinstance(found, tuple)
    return found
