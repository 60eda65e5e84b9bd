"""How close generated images are to the images they should equal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from torchmetrics.regression import MeanAbsoluteError

from patchlight.errors import ConfigError
from patchlight.methods import TranslationMethod

ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
"""AlexNet's ImageNet weights as torchvision names them."""

PROTOCOL = {
    "l1": "mean absolute error over all values, images in [-1, 1]",
    "psnr": "dB, mean over images, images clipped to [0, 1]",
    "ssim": "mean over images, images clipped to [0, 1], Gaussian window of 11 pixels, sigma 1.5",
    "lpips": "AlexNet, linear weights v0.1, mean over images, images in [-1, 1]",
}


class Quality(Callback):
    """Logs L1, PSNR, SSIM and, if asked, LPIPS of every validation and test, as `val/l1`, `test/psnr` and so on.

    What is compared is what the method's `references` name: for pix2pix the output with the target, for CycleGAN the
    reconstruction of each domain with its original. With several references each has figures of its own
    (`val/rec_A/l1`) and `val/l1` is their mean.

    Raises:
        ConfigError: LPIPS is asked for and AlexNet's weights are neither there nor to be had.
    """

    def __init__(self, lpips: bool = False) -> None:
        self.lpips = lpips
        self._metrics: dict[str, MetricCollection] = {}

    @property
    def protocol(self) -> dict[str, str]:
        """What each figure is, by its name."""
        return {name: text for name, text in PROTOCOL.items() if name != "lpips" or self.lpips}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert isinstance(pl_module, TranslationMethod)
        if not self._metrics:
            self._metrics = {name: self._collection() for name in pl_module.references}

    def _collection(self) -> MetricCollection:
        metrics: dict[str, Metric | MetricCollection] = {
            "l1": MeanAbsoluteError(),
            "psnr": PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3)),
            "ssim": StructuralSimilarityIndexMeasure(data_range=1.0),
        }
        if self.lpips:
            metrics["lpips"] = lpips_metric()
        # Each takes its images in a range of its own, so they share no state.
        return MetricCollection(metrics, compute_groups=False)

    def _reset(self, pl_module: LightningModule) -> None:
        for metrics in self._metrics.values():
            metrics.to(pl_module.device)
            metrics.reset()

    def _update(self, pl_module: LightningModule, images: Mapping[str, Tensor]) -> None:
        assert isinstance(pl_module, TranslationMethod)
        for name, reference in pl_module.references.items():
            prediction, target = images[name].float(), images[reference].float()
            for key, metric in self._metrics[name].items(keep_base=True):
                if key in ("psnr", "ssim"):
                    metric.update(_to_unit(prediction), _to_unit(target))
                else:
                    metric.update(*(_to_rgb(x).clamp(-1, 1) if key == "lpips" else x for x in (prediction, target)))

    def _log(self, pl_module: LightningModule, stage: str) -> None:
        figures = {name: metrics.compute() for name, metrics in self._metrics.items()}
        mean = {key: torch.stack([f[key] for f in figures.values()]).mean() for key in next(iter(figures.values()))}
        # The figures are of all ranks' images already; `sync_dist` only says so to Lightning.
        pl_module.log_dict({f"{stage}/{key}": value for key, value in mean.items()}, sync_dist=True)
        if len(figures) > 1:
            for name, values in figures.items():
                pl_module.log_dict({f"{stage}/{name}/{key}": value for key, value in values.items()}, sync_dist=True)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reset(pl_module)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        self._update(pl_module, outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(pl_module, "val")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reset(pl_module)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        self._update(pl_module, outputs)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(pl_module, "test")


def lpips_metric() -> LearnedPerceptualImagePatchSimilarity:
    """LPIPS with AlexNet, for RGB images (B, 3, H, W) in [-1, 1].

    Raises:
        ConfigError: AlexNet's weights are not on the disk and cannot be downloaded.

    Source: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".
    """
    try:
        return LearnedPerceptualImagePatchSimilarity(net_type="alex")
    except (URLError, OSError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise ConfigError(
            f"callbacks.quality.lpips needs AlexNet's ImageNet weights, which could not be downloaded ({error}): "
            f"put torchvision's {ALEXNET_FILE} into {folder} (TORCH_HOME={os.environ.get('TORCH_HOME', 'not set')}), "
            f"or set callbacks.quality.lpips=false"
        ) from None


def _to_unit(images: Tensor) -> Tensor:
    return ((images + 1) / 2).clamp(0, 1)


def _to_rgb(images: Tensor) -> Tensor:
    """Gray images, B 1 H W, as B 3 H W."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
