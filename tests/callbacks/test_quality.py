"""The callback that measures, on methods of few filters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.image import TotalVariation
from torchmetrics.regression import MeanSquaredError

from patchlight.callbacks import Quality
from patchlight.errors import ConfigError
from patchlight.methods import CycleGAN, Pix2Pix
from patchlight.metrics import feature_network
from patchlight.metrics.distances import FeatureDistances, default_cache
from patchlight.networks import PatchDiscriminator, ResNetGenerator, UNetGenerator


class Corners(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, ::16, ::16].flatten(1)


def batches(n_a: int = 5, n_b: int = 3) -> DataLoader[Any]:
    """As an unpaired set gives them: the images of the smaller domain come again."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(n, 1, 3, 32, 32, generator=generator) * 2 - 1 for n in (n_a, n_b))
    loaded = [
        {"A": a[i % n_a], "B": b[i % n_b], "A_path": [f"a{i % n_a}.png"], "B_path": [f"b{i % n_b}.png"]}
        for i in range(max(n_a, n_b))
    ]
    return DataLoader(loaded, batch_size=None)  # type: ignore[arg-type]


def cyclegan() -> CycleGAN:
    torch.manual_seed(0)
    return CycleGAN(
        ResNetGenerator(3, 3, 0, 4), ResNetGenerator(3, 3, 0, 4), PatchDiscriminator(3, 4, 1),
        PatchDiscriminator(3, 4, 1),
    )  # fmt: skip


def trainer(folder: Path, quality: Quality) -> Trainer:
    return Trainer(
        accelerator="cpu", callbacks=[quality], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip


def test_cyclegan_is_compared_in_both_directions(tmp_path: Path) -> None:
    method, quality = cyclegan(), Quality(feature=Corners(), kernel_subsets=3, feature_cache=tmp_path)
    (figures,) = trainer(tmp_path, quality).test(method, batches(), verbose=False)
    network = feature_network(Corners())
    by_hand = FeatureDistances(network, default_cache(network, None), subsets=3)
    shown = [method.translate(batch) for batch in batches()]
    a, b = [f"a{i}.png" for i in range(5)], [f"b{i}.png" for i in range(3)]
    real_A = by_hand.of_real(torch.cat([s["real_A"] for s in shown]), a)
    real_B = by_hand.of_real(torch.cat([s["real_B"] for s in shown[:3]]), b)
    fake_B = by_hand.of_fake(torch.cat([s["fake_B"] for s in shown]), a)
    fake_A = by_hand.of_fake(torch.cat([s["fake_A"] for s in shown[:3]]), b)
    to_b, to_a = by_hand.compute(real_B, fake_B), by_hand.compute(real_A, fake_A)
    for name in ("frechet_corners", "kernel_corners"):
        assert figures[f"test/fake_B/{name}"] == pytest.approx(to_b[name], rel=1e-4)
        assert figures[f"test/fake_A/{name}"] == pytest.approx(to_a[name], rel=1e-4)
        assert figures[f"test/{name}"] == pytest.approx((to_a[name] + to_b[name]) / 2, rel=1e-4)
    assert sorted(f"test/{name}" for name in quality.figure_names(method)) == sorted(figures)
    assert len(torch.load(next(tmp_path.glob("*.pt")), weights_only=True)["keys"]) == 8


def test_pix2pix_has_one_direction(tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = Pix2Pix(UNetGenerator(3, 3, 3, 4), PatchDiscriminator(6, 4, 1))
    quality = Quality(feature=Corners())
    (figures,) = trainer(tmp_path, quality).validate(method, batches(), verbose=False)
    expected = ["val/frechet_corners", "val/kernel_corners", "val/l1", "val/psnr", "val/ssim"]
    assert sorted(name for name in figures if name.startswith("val/")) == expected
    assert figures["val/frechet_corners"] > 0
    assert set(quality.protocol) == {"l1", "psnr", "ssim", "ms_ssim", "frechet_corners", "kernel_corners"}


def test_measuring_draws_no_random_numbers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    method = Pix2Pix(UNetGenerator(3, 3, 3, 4, dropout=True), PatchDiscriminator(6, 4, 1))
    quality, loader = Quality(feature=Corners()), list(batches())
    run = trainer(tmp_path, quality)
    torch.manual_seed(0)
    run.validate(method, DataLoader(loader, batch_size=None, generator=torch.Generator()), verbose=False)  # type: ignore[arg-type]
    assert torch.rand(1) == expected


def test_too_few_images_are_known_beforehand() -> None:
    quality = Quality(feature=Corners())
    with pytest.raises(ConfigError, match=r"callbacks.quality.feature compares sets .* the test split has 1: give it"):
        quality.prepare(32, {"val": (0, 0), "test": (1, 1)})
    Quality().prepare(32, {"test": (1, 1)})
    with pytest.raises(ValueError, match=r"kernel_subset_size must be at least 1, got 0"):
        Quality(kernel_subset_size=0)


@pytest.mark.parametrize(("size", "expected"), [(256, True), ([256, 128], False), (None, False)])
def test_ms_ssim_needs_images_of_one_known_size(size: Any, expected: bool) -> None:
    quality = Quality()
    quality.prepare(size, {})
    assert ("ms_ssim" in quality.figure_names(cyclegan())) is expected


def test_a_method_without_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no figures of pairs, and those of sets if there is a network for them."""
    monkeypatch.setattr(CycleGAN, "references", {})
    assert trainer(tmp_path, Quality()).test(cyclegan(), batches(), verbose=False) == [{}]
    (figures,) = trainer(tmp_path, Quality(feature=Corners())).test(cyclegan(), batches(), verbose=False)
    assert set(figures) == {f"test/{k}_corners" for k in ("frechet", "kernel")} | {
        f"test/fake_{domain}/{k}_corners" for domain in "AB" for k in ("frechet", "kernel")
    }


def test_metrics_of_the_configuration(tmp_path: Path) -> None:
    """Pairs in [0, 1] by reference, sets and images by translation; nothing of them is in a checkpoint."""
    method = cyclegan()
    quality = Quality(metrics={"squared": MeanSquaredError(), "variation": TotalVariation(reduction="mean")})
    quality.prepare(32, {"test": (5, 3)})
    quality.prepare_custom(method, {"A": 3, "B": 3})
    (figures,) = trainer(tmp_path, quality).test(method, batches(), verbose=False)
    assert sorted(figures) == sorted(f"test/{name}" for name in quality.figure_names(method))
    shown = [method.translate(batch) for batch in batches()]
    for group, real in (("rec_A", "real_A"), ("rec_B", "real_B")):
        unit = [torch.cat([s[name] for s in shown]).add(1).div(2).clamp(0, 1) for name in (group, real)]
        assert figures[f"test/{group}/squared"] == pytest.approx(((unit[0] - unit[1]) ** 2).mean().item(), rel=1e-5)
    of_b = torch.cat([s["fake_A"] for s in shown[:3]]).add(1).div(2)
    variation = sum(of_b.diff(dim=dim).abs().sum() for dim in (-1, -2)) / 3
    assert figures["test/fake_A/variation"] == pytest.approx(variation.item(), rel=1e-5)
    assert quality.state_dict() == {}
    assert quality.higher_is_better("rec_A/squared") is False
    assert quality.higher_is_better("psnr") is True


def test_metrics_of_pairs_need_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CycleGAN, "references", {})
    quality = Quality(metrics={"variation": TotalVariation(), "squared": MeanSquaredError()})
    with pytest.raises(ConfigError, match="metrics.squared compares images .* CycleGAN has no references"):
        quality.prepare_custom(cyclegan(), {"A": 3, "B": 3})
