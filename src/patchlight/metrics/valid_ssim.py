"""SSIM over the valid pixels of images alone."""

from __future__ import annotations

from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image import StructuralSimilarityIndexMeasure


class ValidSSIM(StructuralSimilarityIndexMeasure):
    """The mean over images of SSIM in [0, 1], with a Gaussian window of 11 pixels, sigma 1.5.

    With a mask, B 1 H W, an image's value is the mean of its SSIM map over its valid pixels.
    """

    similarity: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__(data_range=1.0)

    def update(self, preds: Tensor, target: Tensor, valid: Tensor | None = None) -> None:
        if valid is None:
            super().update(preds, target)
            return
        found = structural_similarity_index_measure(
            preds, target, data_range=1.0, reduction="none", return_full_image=True
        )
        assert isinstance(found, tuple)
        mask = valid.to(preds.dtype).expand_as(preds)
        sums = (found[1] * mask).flatten(1).sum(dim=1) / mask.flatten(1).sum(dim=1)
        self.similarity += sums.sum()
        self.total += len(preds)
