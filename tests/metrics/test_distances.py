from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from patchlight.data.images import to_levels
from patchlight.metrics import FeatureDistances, feature_network
from patchlight.metrics.distances import default_cache


class Corners(nn.Module):
    num_features = 12

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += len(images)
        return images[:, :, ::7, ::7].flatten(1)


def images(n: int, seed: int, shift: float = 0.0) -> Tensor:
    noise = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return (noise * 1.6 - 0.8 + shift).clamp(-1, 1)


def distances(folder: Path | None = None, module: nn.Module | None = None) -> FeatureDistances:
    network = feature_network(module or Corners())
    return FeatureDistances(network, default_cache(network, folder), subsets=5, subset_size=20)


def names(n: int) -> list[str]:
    return [f"{i:03d}.png" for i in range(n)]


@pytest.mark.filterwarnings("ignore:.*will save all extracted features:UserWarning")
def test_distances_are_torchmetrics_over_the_images_in_order_of_their_files() -> None:
    real, fake = images(30, 0), images(25, 1, 0.2)
    d = distances()
    found = d.compute(d.of_real(real, names(30)), d.of_fake(fake.flip(0), names(25)[::-1]))
    fid, kid = FrechetInceptionDistance(Corners()), KernelInceptionDistance(Corners(), subsets=5, subset_size=20)
    for metric in (fid, kid):
        metric.update(to_levels(real, nearest=True) / 255, real=True)
        metric.update(to_levels(fake, nearest=True) / 255, real=False)
    torch.manual_seed(0)
    expected = float(kid.compute()[0])
    assert found == pytest.approx({"frechet_corners": float(fid.compute()), "kernel_corners": expected}, rel=1e-5)


def test_the_same_whoever_else_draws_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    d = distances()
    real, fake = d.of_real(images(30, 0), names(30)), d.of_fake(images(30, 1), names(30))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = d.compute(real, fake)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    monkeypatch.setattr(torch, "manual_seed", seeds_all_devices)
    assert d.compute(real, fake) == first


def seeds_all_devices(seed: int) -> None:
    raise AssertionError("the random numbers of a training on a GPU would begin anew")


def test_a_file_counts_once() -> None:
    d = distances()
    once = d.of_fake(images(4, 0), names(4))
    twice = once | d.of_fake(images(4, 0), names(4))
    assert len(twice) == 4
    few = d.compute({"a": ("", torch.zeros(12))}, once)
    assert all(value != value for value in few.values())


def test_real_features_are_computed_once_and_kept_on_the_disk(tmp_path: Path) -> None:
    module = Corners()
    d = distances(tmp_path, module)
    first = d.of_real(images(5, 0), names(5))
    d.of_real(images(5, 0), names(5))
    assert module.calls == 5
    d.cache.write()
    again = Corners()
    other = distances(tmp_path, again)
    found = other.of_real(images(5, 0), names(5))
    assert again.calls == 0
    assert all(torch.equal(found[name][1], first[name][1]) for name in names(5))
    other.of_real(images(6, 3)[5:], ["new.png"])
    assert again.calls == 1


def test_two_writers_and_a_damaged_file(tmp_path: Path) -> None:
    a, b = distances(tmp_path), distances(tmp_path)
    a.of_real(images(3, 0), names(3))
    b.of_real(images(2, 1), names(2))
    a.cache.write()
    b.cache.write()
    assert len(distances(tmp_path).cache) == 5
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert len(distances(tmp_path).cache) == 0


def test_real_images_are_seen_as_their_files_have_them() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    as_read = levels.float().div(255).sub(0.5).div(0.5)
    assert torch.equal(to_levels(as_read, nearest=True), levels)
    assert to_levels(torch.tensor([float("nan"), -3.0, 3.0]), nearest=True).tolist() == [0, 0, 255]


def test_protocol_says_what_it_is_not() -> None:
    protocol = distances().protocol()
    assert set(protocol) == {"frechet_corners", "kernel_corners"}
    assert protocol["frechet_corners"]["sha256"] == feature_network(Corners()).sha256
    assert "5 subsets of 20 images" in protocol["kernel_corners"]["what"]
