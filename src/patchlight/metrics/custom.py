"""Metrics that the configuration adds: any `Metric` of torchmetrics, or one's own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from patchlight.errors import ConfigError
from patchlight.metrics.paired import higher_is_better

KEY = "callbacks.quality.metrics"

Kind = Literal["pairs", "sets", "images"]

COMPARED: Mapping[Kind, str] = {
    "pairs": "images and the ones they should equal",
    "sets": "translated and real images of a domain, every file once",
    "images": "translated images, every file once",
}
"""What each kind of metric looks at."""

RESERVED = re.compile(r"l1|psnr|ssim|ms_ssim|lpips|fid|kid|(frechet|kernel)_\w+")
"""Names of the figures that there are without this."""


class CustomMetrics:
    """Metrics by name, each of the kind that the signature of its `update` says.

    `update(preds, target)` compares pairs, in this order and whatever the names. `update(images, real)` compares sets:
    it is called with real=True for real images and real=False for translated ones. `update(images)` takes translated
    images alone. All images are B C H W in [0, 1], in floating point: of the metrics of torchmetrics that take 8-bit
    images otherwise, this asks for `normalize=True`.

    Raises:
        ConfigError: no metric, a name that cannot be a figure's, or an `update` of another kind.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        for name, metric in metrics.items():
            if re.fullmatch(r"[A-Za-z]\w*", name) is None or RESERVED.fullmatch(name):
                raise ConfigError(
                    f"{KEY}.{name} cannot be the name of a figure: take letters, digits and _, and none of the names "
                    f"that there are, such as l1, psnr and fid"
                )
            if not isinstance(metric, Metric):
                raise ConfigError(f"{KEY}.{name} makes a {type(metric).__name__}: derive it from torchmetrics.Metric")
        self.metrics = dict(metrics)
        self.kinds: dict[str, Kind] = {name: _kind(name, metric) for name, metric in metrics.items()}

    def names(self, *kinds: Kind) -> list[str]:
        """The metrics of some kinds."""
        return [name for name, kind in self.kinds.items() if kind in kinds]

    def new(self, *kinds: Kind) -> dict[str, Metric]:
        """Metrics of some kinds, without images."""
        return {name: deepcopy(self.metrics[name]) for name in self.names(*kinds)}

    def higher_is_better(self, figure: str) -> bool | None:
        """Whether more is better of a figure, a prefix like `rec_A/` left aside; None where nothing says it."""
        metric = self.metrics.get(figure.rpartition("/")[2])
        return higher_is_better(figure) if metric is None else metric.higher_is_better

    def try_size(self, channels: int, height: int, width: int) -> None:
        """See, on two images of this size, that every metric takes them and gives one number.

        Raises:
            ConfigError: it does not.
        """
        images = torch.linspace(0, 1, 2 * channels * height * width).reshape(2, channels, height, width)
        for name, metric in self.new("pairs", "sets", "images").items():
            kind, size = self.kinds[name], f"2 x {channels} x {height} x {width}"
            try:
                _update(metric, kind, images, images.flip(0))
            except Exception as error:  # of somebody else's code
                reason = " ".join(str(error).split()) or type(error).__name__
                raise ConfigError(f"{KEY}.{name} does not take {COMPARED[kind]}, {size} in [0, 1]: {reason}") from None
            try:
                numbers = torch.as_tensor(computed(metric)).numel()
            except Exception:  # two images may be too few
                continue
            if numbers != 1:
                raise ConfigError(f"{KEY}.{name} gives {numbers} numbers: one is needed, for example their mean")

    def protocol(self) -> dict[str, Any]:
        """What each figure is, by its name."""
        words = {True: "higher", False: "lower", None: None}
        return {
            name: {
                "what": f"{type(metric).__module__}.{type(metric).__qualname__} of {COMPARED[self.kinds[name]]}",
                "range": "images clipped to [0, 1]",
                "better": words[metric.higher_is_better],
            }
            for name, metric in self.metrics.items()
        }


class CustomFigures:
    """The metrics of one validation or test, on one rank of `world_size`; their states meet when they are computed.

    `references` and `translations` are those of the method. `sizes` is the number of images of the batches' domains A
    and B. In an unpaired set the images of the smaller domain come again: sets count each once, with the rank that has
    it first, as ranks take every `world_size`-th sample.
    """

    def __init__(
        self, metrics: CustomMetrics, references: Mapping[str, str], translations: Mapping[str, tuple[str, str]],
        sizes: Mapping[str, int], device: torch.device, rank: int, world_size: int,
    ) -> None:  # fmt: skip
        self.references, self.translations, self.sizes = references, translations, sizes
        self.rank, self.world_size = rank, world_size
        self.metrics: dict[Kind, dict[str, dict[str, Metric]]] = {
            kind: {group: metrics.new(kind) for group in (references if kind == "pairs" else translations)}
            for kind in COMPARED
        }
        for groups in self.metrics.values():
            for found in groups.values():
                for metric in found.values():
                    metric.to(device)
        self._samples = 0
        self._seen: dict[str, set[str]] = {"A": set(), "B": set()}

    def update(self, images: Mapping[str, Tensor], batch: Mapping[str, Any]) -> None:
        """Take in the images of a batch, B C H W in [-1, 1], by the names that the method gives them."""
        unit = {name: ((image.float() + 1) / 2).clamp(0, 1) for name, image in images.items()}
        for group, reference in self.references.items():
            for metric in self.metrics["pairs"][group].values():
                _update(metric, "pairs", unit[group], unit[reference])
        first = {domain: self._first_times(domain, batch[f"{domain}_path"]) for domain in ("A", "B")}
        for group, (source, target) in self.translations.items():
            fake, real = unit[group][first[source]], unit[f"real_{target}"][first[target]]
            for kind in ("sets", "images"):
                for metric in self.metrics[kind][group].values():
                    _update(metric, kind, fake, real)
        self._samples += len(batch["A_path"])

    def compute(self) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
        """The figures of every reference, and of every translation, over all ranks."""
        values = {
            kind: {group: {name: float(computed(m)) for name, m in found.items()} for group, found in groups.items()}
            for kind, groups in self.metrics.items()
        }
        return values["pairs"], {group: found | values["images"][group] for group, found in values["sets"].items()}

    def _first_times(self, domain: str, files: Sequence[str]) -> list[int]:
        """Where in a batch the images are that no batch before had, neither of this rank nor of another."""
        seen, size = self._seen[domain], self.sizes.get(domain)
        found = []
        for i, file in enumerate(files):
            sample = self.rank + (self._samples + i) * self.world_size
            if file not in seen and (size is None or sample < size):
                found.append(i)
            seen.add(file)
        return found


def computed(metric: Metric) -> Any:
    """The value of a metric; of several, such as mean and deviation, the first. Training's random numbers stay."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        value = metric.compute()
    return value[0] if isinstance(value, tuple) else value


def _update(metric: Metric, kind: Kind, fake: Tensor, real: Tensor) -> None:
    if kind == "pairs":
        metric.update(fake, real)
    elif kind == "images":
        if len(fake):
            metric.update(fake)
    else:
        for images, is_real in ((real, True), (fake, False)):
            if len(images):
                metric.update(images, real=is_real)


def _kind(name: str, metric: Metric) -> Kind:
    parameters = inspect.signature(metric.update).parameters.values()
    if any(parameter.name == "real" for parameter in parameters):
        return "sets"
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(needed) in (1, 2):
        return "images" if len(needed) == 1 else "pairs"
    raise ConfigError(
        f"{KEY}.{name} has update({', '.join(needed)}): there are update(preds, target), update(images, real) and "
        f"update(images)"
    )
