"""How close images are to the images they should equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from patchlight.losses.image_terms import MS_SSIM_MIN_SIZE
from patchlight.losses.pretrained import to_rgb
from patchlight.metrics.features import unavailable
from patchlight.metrics.valid_ssim import ValidSSIM
from patchlight.system.weights import ALEXNET, sha256_of

if TYPE_CHECKING:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

IN_UNIT_RANGE = frozenset({"psnr", "ssim", "ms_ssim"})
"""Metrics whose images are in [0, 1]; those of the others are in [-1, 1]."""


@dataclass(frozen=True)
class PairedMetrics:
    """Which figures of pairs there are: L1, PSNR, SSIM, for images of at least 176 px MS-SSIM, and LPIPS if asked for.

    `image_size` is height and width in pixels. Build it before a training: it finds out whether LPIPS' weights are
    there.

    Raises:
        ConfigError: AlexNet's weights are not on the disk and cannot be downloaded.

    Source: Wang et al. 2004 (SSIM) and 2003 (MS-SSIM); Zhang et al. 2018, "The Unreasonable Effectiveness of Deep
    Features as a Perceptual Metric" (LPIPS).
    """

    lpips: bool = False

    def __post_init__(self) -> None:
        if self.lpips:
            _lpips()

    def names(self, image_size: tuple[int, int]) -> list[str]:
        """The figures for images of this height and width."""
        names = ["l1", "psnr", "ssim"]
        names += ["ms_ssim"] if min(image_size) >= MS_SSIM_MIN_SIZE else []
        names += ["lpips"] if self.lpips else []
        return names

    def collection(self, image_size: tuple[int, int]) -> MetricCollection:
        """New metrics, without images, for images of this height and width."""
        from torchmetrics.image import (
            MultiScaleStructuralSimilarityIndexMeasure,
            PeakSignalNoiseRatio,
        )
        from torchmetrics.regression import MeanAbsoluteError

        makers: dict[str, Callable[[], Metric]] = {
            "l1": MeanAbsoluteError,
            "psnr": lambda: PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3)),
            "ssim": ValidSSIM,
            "ms_ssim": lambda: MultiScaleStructuralSimilarityIndexMeasure(data_range=1.0),
            "lpips": _lpips,
        }
        metrics: dict[str, Metric | MetricCollection] = {name: makers[name]() for name in self.names(image_size)}
        # Each takes its images in a range of its own, so they share no state.
        return MetricCollection(metrics, compute_groups=False)

    def protocol(self, image_size: tuple[int, int]) -> dict[str, Any]:
        """What each figure is, by its name."""
        unit, window = "images clipped to [0, 1]", "Gaussian window of 11 pixels, sigma 1.5"
        figures: dict[str, Any] = {
            "l1": {"what": "mean absolute error over all values", "range": "images in [-1, 1]"},
            "psnr": {"what": "dB, mean over images", "range": unit},
            "ssim": {"what": f"mean over images, {window}", "range": unit},
            "ms_ssim": {"what": f"mean over images, five scales, {window}", "range": unit},
        }
        if "ms_ssim" not in self.names(image_size):
            figures["ms_ssim"] = {"left out": f"needs images of at least {MS_SSIM_MIN_SIZE} px a side"}
        if self.lpips:
            what = "AlexNet with the linear weights v0.1, mean over images, no resizing"
            sha256 = sha256_of(ALEXNET.path())
            figures["lpips"] = {"what": what, "range": "images clipped to [-1, 1]", "sha256": sha256}
        return figures


def update(metrics: MetricCollection, prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> None:
    """Take in images and the ones they should equal, each B C H W in [-1, 1].

    Where there is a mask, B 1 H W, of 1 at `valid` pixels, L1, PSNR and SSIM are means over these; to other metrics the
    images are equal everywhere else. Images without a valid pixel are left out.
    """
    if valid is not None:
        prediction, target, valid = (x[valid.flatten(1).any(dim=1)] for x in (prediction, target, valid))
        if not len(prediction):
            return
        prediction = torch.where(valid > 0, prediction, target)
    for name, metric in metrics.items(keep_base=True):
        pair = prediction.float(), target.float()
        if valid is not None and name in ("l1", "psnr", "ssim"):
            _update_valid(name, metric, *pair, valid > 0)
            continue
        if name in IN_UNIT_RANGE:
            metric.update(*(((x + 1) / 2).clamp(0, 1) for x in pair))
        elif name == "lpips":
            metric.update(*(to_rgb(x).clamp(-1, 1) for x in pair))
        else:
            metric.update(*pair)


def _update_valid(name: str, metric: Metric, prediction: Tensor, target: Tensor, valid: Tensor) -> None:
    if name == "ssim":
        metric.update(*(((x + 1) / 2).clamp(0, 1) for x in (prediction, target)), valid)
        return
    for image, reference, mask in zip(prediction, target, valid[:, 0], strict=True):
        pair = [x[:, mask][None, :, :, None] for x in (image, reference)]
        metric.update(*(pair if name == "l1" else [((x + 1) / 2).clamp(0, 1) for x in pair]))


def higher_is_better(name: str) -> bool:
    """Whether more is better of a figure of this name, a prefix like `rec_A/` left aside."""
    return name.rpartition("/")[2] in IN_UNIT_RANGE


def _lpips() -> LearnedPerceptualImagePatchSimilarity:
    """LPIPS with AlexNet, for RGB images B 3 H W in [-1, 1]."""
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    try:
        # Its layers are drawn before the weights are read: no training should have other random numbers for that.
        with torch.random.fork_rng(devices=[]):
            return LearnedPerceptualImagePatchSimilarity(net_type="alex")
    except OSError as error:
        raise unavailable("callbacks.quality.lpips", ALEXNET, error, "set callbacks.quality.lpips=false") from None
