"""Metrics that the configuration adds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure, TotalVariation

from patchlight.config.validation import locate
from patchlight.errors import ConfigError
from patchlight.metrics.custom import CustomFigures, CustomMetrics
from patchlight.trust.allowlist import METRICS


class Collected(Metric):
    """Keeps what it is given: real images and others, each by its first value."""

    higher_is_better = None

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[bool, list[float]] = {True: [], False: []}

    def update(self, images: Tensor, real: bool) -> None:
        self.given[real] += images[:, 0, 0, 0].tolist()

    def compute(self) -> Tensor:
        return torch.rand(())


class Answer(Metric):
    """A metric of translated images that answers what it is told to."""

    def __init__(self, value: Any = 1.0) -> None:
        super().__init__()
        self.value = value

    def update(self, images: Tensor) -> None:
        assert images.shape[1] == 3

    def compute(self) -> Any:
        return self.value


class OfThree(Metric):
    def update(self, a: Tensor, b: Tensor, c: Tensor) -> None: ...
    def compute(self) -> None: ...


@pytest.mark.filterwarnings("ignore:Metric .* will save all targets and predictions:UserWarning")
@pytest.mark.parametrize("target", sorted(METRICS))
def test_those_of_torchmetrics_that_a_checkpoint_may_name(target: str) -> None:
    """Each takes B C H W in [0, 1] and gives one number; those that read or download weights are not among them."""
    settings = {"data_range": 1.0} if "PeakSignal" in target else {}
    metric = locate(target, "x")(**settings)
    metrics = CustomMetrics({"x": metric})
    metrics.try_size(1 if "BlockedEffect" in target else 3, 192, 192)
    assert metrics.kinds["x"] == ("images" if target.endswith("TotalVariation") else "pairs")
    assert metrics.higher_is_better("val/fake_B/x") == metric.higher_is_better


@pytest.mark.parametrize(
    ("name", "metric", "message"),
    [
        ("l1", Answer(), "callbacks.quality.metrics.l1 cannot be the name of a figure"),
        ("kernel_own", Answer(), "callbacks.quality.metrics.kernel_own cannot be the name"),
        ("a/b", Answer(), "callbacks.quality.metrics.a/b cannot be the name"),
        ("x", torch.nn.ReLU(), "callbacks.quality.metrics.x makes a ReLU: derive it from torchmetrics.Metric"),
        ("x", OfThree(), r"callbacks.quality.metrics.x has update\(a, b, c\): there are update\(preds, target\)"),
    ],
)
def test_what_is_no_metric_of_images(name: str, metric: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CustomMetrics({name: metric})


def test_it_is_tried_beforehand() -> None:
    """Of the random numbers of a training none is drawn."""
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with pytest.raises(ConfigError, match="metrics.x gives 3 numbers: one is needed, for example their mean"):
        CustomMetrics({"x": Answer(torch.ones(3))}).try_size(3, 8, 8)
    with pytest.raises(ConfigError, match=r"x does not take images and .*, 2 x 3 x 8 x 8 in \[0, 1\]: .*kernel_size"):
        CustomMetrics({"x": StructuralSimilarityIndexMeasure(sigma=-1.0, kernel_size=4)}).try_size(3, 8, 8)
    CustomMetrics({"mean_and_deviation": Answer((torch.tensor(1.0), torch.tensor(0.5)))}).try_size(3, 8, 8)
    CustomMetrics({"drawn": Collected()}).try_size(3, 8, 8)
    assert torch.rand(1) == expected


def batch(a: list[int], b: list[int]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Images whose value is their number: A is n/100, B is n/10, and what is translated the half of its source."""
    real_a, real_b = (torch.tensor(n).reshape(-1, 1, 1, 1).expand(-1, 3, 8, 8) / f for n, f in ((a, 100), (b, 10)))
    unit = {"real_A": real_a, "real_B": real_b, "fake_B": real_a / 2, "fake_A": real_b / 2}
    images = {name: image * 2 - 1 for name, image in unit.items()}
    return images, {"A_path": [f"a{n}" for n in a], "B_path": [f"b{n}" for n in b]}


TRANSLATIONS = {"fake_B": ("A", "B"), "fake_A": ("B", "A")}


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("counted", [True, False])
def test_sets_count_every_file_once(world_size: int, counted: bool) -> None:
    """7 images of A and 3 of B, which come again, on one rank and on several; batches of 2."""
    sizes = {"A": 7, "B": 3} if counted else {}
    found: dict[str, dict[bool, list[float]]] = {group: {True: [], False: []} for group in TRANSLATIONS}
    for rank in range(world_size):
        figures = CustomFigures(
            CustomMetrics({"x": Collected()}), {}, TRANSLATIONS, sizes, torch.device("cpu"), rank, world_size
        )
        own = list(range(rank, 7, world_size))
        for i in range(0, len(own), 2):
            samples = own[i : i + 2]
            figures.update(*batch(samples, [n % 3 for n in samples]))
        for group in TRANSLATIONS:
            metric = figures.metrics["sets"][group]["x"]
            assert isinstance(metric, Collected)
            for real in (True, False):
                found[group][real] += metric.given[real]
    of_a, of_b = [n / 100 for n in range(7)], [n / 10 for n in range(3)]
    expected = {
        "fake_B": {True: of_b, False: [value / 2 for value in of_a]},
        "fake_A": {True: of_a, False: [value / 2 for value in of_b]},
    }
    for group in TRANSLATIONS:
        for real in (True, False):
            values = sorted(found[group][real])
            if not counted and world_size > 1:  # a data module that does not say how many there are: once a rank
                values = sorted(set(values))
            assert values == pytest.approx(expected[group][real], abs=1e-6), (group, real)


def test_figures_by_hand() -> None:
    images, paths = batch([10, 30], [3, 4])
    metrics = CustomMetrics(
        {"psnr_own": PeakSignalNoiseRatio(data_range=1.0), "tv": TotalVariation(), "x": Collected()}
    )
    figures = CustomFigures(
        metrics, {"fake_B": "real_B"}, {"fake_B": ("A", "B")}, {"A": 2, "B": 2}, torch.device("cpu"), 0, 1
    )
    figures.update(images, paths)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    pairs, sets = figures.compute()
    assert torch.rand(1) == expected
    error = ((0.3 - 0.05) ** 2 + (0.4 - 0.15) ** 2) / 2
    assert pairs == {"fake_B": {"psnr_own": pytest.approx(-10 * torch.tensor(error).log10().item(), rel=1e-5)}}
    assert sets["fake_B"].keys() == {"tv", "x"}
    assert sets["fake_B"]["tv"] == pytest.approx(0.0, abs=1e-5)
    assert metrics.protocol()["psnr_own"] == {
        "what": "torchmetrics.image.psnr.PeakSignalNoiseRatio of images and the ones they should equal",
        "range": "images clipped to [0, 1]",
        "better": "higher",
    }
    assert metrics.protocol()["x"]["better"] is None
