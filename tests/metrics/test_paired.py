from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from patchlight.data.images import read_image, to_array, to_float, to_planes
from patchlight.errors import ConfigError
from patchlight.metrics import PairedMetrics
from patchlight.metrics.paired import higher_is_better, update
from patchlight.system.weights import ALEXNET, sha256_of

QUIET = pytest.mark.filterwarnings("ignore:.*weights.*:UserWarning")


def no_network(*args: Any, **kwargs: Any) -> None:
    raise OSError("no network")


def test_lpips_without_weights_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    expected = (
        r"callbacks.quality.lpips needs AlexNet's .* \(no network\): get https://.*alexnet-owt-7be5be79.pth and put"
    )
    with pytest.raises(ConfigError, match=expected):
        PairedMetrics(lpips=True)


@pytest.mark.usefixtures("alexnet")
@QUIET
def test_lpips_of_the_reference_images(shared: Path) -> None:
    folder = shared / "data" / "lpips_reference"
    images = {p.stem: to_float(to_planes(to_array(read_image(p))))[None] for p in folder.glob("*.png")}
    metrics = PairedMetrics(lpips=True).collection((64, 64))
    for suffix, expected in (("p0", 0.7219), ("p1", 0.1376)):
        metrics.reset()
        update(metrics, images["ex_ref"], images[f"ex_{suffix}"])
        assert float(metrics.compute()["lpips"]) == pytest.approx(expected, abs=1e-3)


@pytest.mark.usefixtures("alexnet")
@QUIET
def test_protocol_names_the_file_of_lpips() -> None:
    assert PairedMetrics(lpips=True).protocol((64, 64))["lpips"]["sha256"] == sha256_of(ALEXNET.path())
    assert "lpips" not in PairedMetrics().protocol((64, 64))


@pytest.mark.usefixtures("alexnet")
@QUIET
def test_reading_weights_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    PairedMetrics(lpips=True).collection((64, 64))
    assert torch.equal(torch.rand(3), expected)


def test_ms_ssim_where_images_are_large_enough() -> None:
    paired = PairedMetrics()
    assert paired.names((175, 256)) == ["l1", "psnr", "ssim"]
    assert paired.protocol((175, 256))["ms_ssim"] == {"left out": "needs images of at least 176 px a side"}
    assert paired.names((176, 256)) == ["l1", "psnr", "ssim", "ms_ssim"]
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 176, 176, generator=generator)
    noisy = (images + 0.1 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    metrics = paired.collection((176, 176))
    update(metrics, noisy * 2 - 1, images * 2 - 1)
    expected = multiscale_structural_similarity_index_measure(noisy, images, data_range=1.0)
    assert float(metrics.compute()["ms_ssim"]) == pytest.approx(float(expected), rel=1e-5)  # type: ignore[arg-type]


def test_direction_of_a_figure() -> None:
    names = ("l1", "rec_A/psnr", "ssim", "ms_ssim", "lpips", "fake_B/fid", "kid")
    assert [name for name in names if higher_is_better(name)] == ["rec_A/psnr", "ssim", "ms_ssim"]
