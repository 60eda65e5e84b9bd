"""The figures of every validation and test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from pydantic import PositiveInt
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from patchlight.data.contents import compared, drawn
from patchlight.data.contract import contents_in
from patchlight.errors import ConfigError
from patchlight.methods import TranslationMethod
from patchlight.methods.state import gather
from patchlight.metrics import FeatureDistances, PairedMetrics, feature_network
from patchlight.metrics.custom import CustomFigures, CustomMetrics
from patchlight.metrics.distances import MIN_IMAGES, default_cache
from patchlight.metrics.paired import update

Figures = dict[str, float]


class Quality(Callback):
    """Logs how good the images of every validation and test are, as `val/l1`, `test/psnr` and so on.

    Pairs: L1, PSNR, SSIM, MS-SSIM (images of at least 176 px) and, with `lpips`, LPIPS, of what the method's
    `references` name: for pix2pix the output with the target, for CycleGAN the reconstruction of each domain with its
    original. Sets: with a `feature` network, the Frechet and kernel distance of the translated images to the real ones
    of their domain, which are called FID and KID on Inception's features only. With several pairs or directions each
    has figures of its own (`val/rec_A/l1`, `val/fake_B/fid`) and `val/l1`, `val/fid` are their means. `metrics` adds
    figures by name: metrics of torchmetrics or one's own, see `CustomMetrics`.

    Raises:
        ConfigError: weights are neither there nor to be had, or images or their number do not suit a metric.
    """

    def __init__(
        self,
        lpips: bool = False,
        feature: Literal["inception", "alexnet"] | nn.Module | None = None,
        kernel_subsets: PositiveInt = 100,
        kernel_subset_size: PositiveInt = 100,
        feature_cache: str | Path | None = None,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        for name, value in (("kernel_subsets", kernel_subsets), ("kernel_subset_size", kernel_subset_size)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.paired = PairedMetrics(lpips=lpips)
        self.distances: FeatureDistances | None = None
        if feature is not None:
            network = feature_network(feature)
            cache = default_cache(network, feature_cache)
            self.distances = FeatureDistances(network, cache, kernel_subsets, kernel_subset_size)
        self.custom = CustomMetrics(metrics or {})
        self.image_size = (0, 0)
        self._sizes: Mapping[str, tuple[int, int]] = {}
        self._metrics: dict[str, MetricCollection] = {}
        self._features: dict[str, dict[str, tuple[str, Tensor]]] = {}
        self._custom: CustomFigures | None = None

    def prepare(self, image_size: int | list[int] | None, n_images: Mapping[str, tuple[int, int]]) -> None:
        """Get ready for images of this size in pixels, before anything else is done.

        No size says that the images are of many. `n_images` is how many there are of domain A and B of a batch in each
        split.

        Raises:
            ConfigError: the feature network cannot take them, or a split has too few for a distance of sets.
        """
        if image_size is not None:
            height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
            self.image_size = height, width
        self._sizes = n_images
        if self.distances is None:
            return
        if image_size is not None:
            self.distances.network.try_size(self.image_size)
        for split, numbers in n_images.items():
            if any(numbers) and min(numbers) < MIN_IMAGES:
                raise ConfigError(
                    f"callbacks.quality.feature compares sets of images, and the {split} split has {min(numbers)}: "
                    f"give it at least {MIN_IMAGES}, or set callbacks.quality.feature=null"
                )

    def prepare_custom(self, method: TranslationMethod, channels: Mapping[str, int]) -> None:
        """Try the metrics of the configuration on images of a method, which have so many channels in domain A and B.

        Raises:
            ConfigError: one does not take them, or the method has nothing for it to compare.
        """
        if (pairs := self.custom.names("pairs")) and not method.references:
            raise ConfigError(
                f"callbacks.quality.metrics.{pairs[0]} compares images with the ones they should equal, and "
                f"{type(method).__name__} has no references"
            )
        if min(self.image_size) > 0:
            for number in sorted({channels[target] for _, target in method.translations.values()}):
                self.custom.try_size(number, *self.image_size)

    def higher_is_better(self, figure: str) -> bool | None:
        """Whether more is better of a figure, without `val/` or `test/`; None where nothing says it."""
        return self.custom.higher_is_better(figure)

    @property
    def protocol(self) -> dict[str, Any]:
        """What each figure is, by its name."""
        distances = self.distances.protocol() if self.distances is not None else {}
        return self.paired.protocol(self.image_size) | distances | self.custom.protocol()

    def figure_names(self, method: TranslationMethod) -> list[str]:
        """The figures of this method's validations and tests, without `val/` and `test/`."""
        names: list[str] = []
        paired = self.paired.names(self.image_size) + self.custom.names("pairs")
        distances = self.distances.names if self.distances is not None else []
        distances = distances + self.custom.names("sets", "images")
        for groups, figures in ((method.references, paired), (method.translations, distances)):
            names += figures if groups else []
            if len(groups) > 1:
                names += [f"{group}/{figure}" for group in groups for figure in figures]
        return names

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TranslationMethod)
        if not self._metrics:
            self._metrics = {name: self.paired.collection(self.image_size) for name in pl_module.references}
        for metrics in self._metrics.values():
            metrics.to(pl_module.device)
            metrics.reset()
        if self.distances is not None:
            self.distances.network.module.to(pl_module.device)
            names = [*pl_module.translations, *(f"real_{b}" for _, b in pl_module.translations.values())]
            self._features = {name: {} for name in names}
        if self.custom.metrics:
            sizes = dict(zip("AB", self._sizes.get(_stage(trainer), ()), strict=False))
            self._custom = CustomFigures(
                self.custom, pl_module.references, pl_module.translations, sizes, pl_module.device,
                trainer.global_rank, trainer.world_size,
            )  # fmt: skip

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        assert isinstance(pl_module, TranslationMethod)
        contents = contents_in(trainer)
        images, valid = compared(outputs, contents), batch.get("valid")
        for name, reference in pl_module.references.items():
            update(self._metrics[name], images[name], images[reference], valid)
            if valid is not None:  # what figures of one's own see elsewhere is the target
                images[name] = torch.where(valid > 0, images[name], images[reference])
        if self.distances is not None:
            pictures = drawn(outputs, contents)
            for name, (source, target) in pl_module.translations.items():
                real = f"real_{target}"
                self._features[name] |= self.distances.of_fake(pictures[name], batch[f"{source}_path"])
                self._features[real] |= self.distances.of_real(pictures[real], batch[f"{target}_path"])
        if self._custom is not None:
            self._custom.update(images, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TranslationMethod)
        pairs = {
            name: {key: float(value) for key, value in metrics.compute().items()}
            for name, metrics in self._metrics.items()
        }
        sets = self._compare_sets(self.distances, pl_module) if self.distances is not None else {}
        if self._custom is not None:
            of_pairs, of_sets = self._custom.compute()
            self._custom = None
            pairs = {name: figures | of_pairs[name] for name, figures in pairs.items()}
            sets = {name: sets.get(name, {}) | of_sets[name] for name in of_sets}
        logged = _with_means(pairs) | _with_means(sets)
        # The figures are of all ranks' images already; `sync_dist` only says so to Lightning.
        pl_module.log_dict({f"{_stage(trainer)}/{key}": value for key, value in logged.items()}, sync_dist=True)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

    def _compare_sets(self, distances: FeatureDistances, method: TranslationMethod) -> dict[str, Figures]:
        """The distances of each translation, found by the first rank from the images of all."""
        features: dict[str, dict[str, tuple[str, Tensor]]] = {name: {} for name in self._features}
        for part in gather(self._features):
            for name, found in part.items():
                features[name] |= {file: (key, row) for file, (key, row) in found.items()}
        self._features = {}
        figures: dict[str, Figures] = {}
        if method.trainer.is_global_zero:
            distances.cache.write()
            for name, (_, target) in method.translations.items():
                figures[name] = distances.compute(features[f"real_{target}"], features[name])
        return method.trainer.strategy.broadcast(figures)


def mean_of(figure: str, names: Iterable[str]) -> list[str]:
    """The figures, `rec_A/l1` and `rec_B/l1`, of which one that is called `l1` is the mean; none if it is none."""
    return [name for name in names if name.count("/") == 1 and name.endswith(f"/{figure}")]


def figure_title(figure: str, names: Iterable[str]) -> str:
    """What people read of a figure: `l1` of reconstructions is `rec l1`, as pix2pix's l1 is of translations."""
    kinds = {name.partition("_")[0] for name in mean_of(figure, names)}
    return f"rec {figure}" if kinds == {"rec"} else figure


def _stage(trainer: Trainer) -> str:
    return "test" if trainer.testing else "val"


def _with_means(figures: Mapping[str, Figures]) -> Figures:
    """Figures by group as one: their means by name and, of several groups, each with its group's name before it."""
    names = next(iter(figures.values()), {})
    logged = {key: sum(f[key] for f in figures.values()) / len(figures) for key in names}
    if len(figures) > 1:
        logged |= {f"{group}/{key}": value for group, f in figures.items() for key, value in f.items()}
    return logged
