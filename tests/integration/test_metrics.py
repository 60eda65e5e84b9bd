"""The figures of a run against torchmetrics called by hand on its checkpoint, over a real test set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

from patchlight.build import build_data, build_method, data_channels
from patchlight.checkpoint import read_checkpoint, weights
from patchlight.data import normalise
from patchlight.metrics import feature_network


class AlexNetFeatures(torch.nn.Module):
    num_features = 256

    def __init__(self) -> None:
        super().__init__()
        self.network = feature_network("alexnet").module

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images)  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.usefixtures("alexnet")
@pytest.mark.filterwarnings("ignore:.*weights.*:UserWarning", "ignore:.*save all extracted features:UserWarning")
def test_facades_figures_are_torchmetrics(patchlight_train: Any, shared: Path, tmp_path: Path) -> None:
    outcome = patchlight_train(
        "experiment=facades_pix2pix", f"data.root={shared / 'data/facades'}", "data.load_size=68", "data.image_size=64",
        "data.val_size=2", "data.num_workers=0", "model/generator=unet_128", "model.generator.num_downs=6",
        "model.generator.ngf=8", "model.discriminator.ndf=8", "model.discriminator.n_layers=2", "trainer.max_steps=3",
        "trainer=cpu", "logger=csv", "callbacks.quality.lpips=true", "callbacks.quality.feature=alexnet",
        "callbacks.quality.kernel_subset_size=50", "hydra.run.dir=run",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    found = json.loads((tmp_path / "run/metrics.json").read_text())
    cfg: Any = OmegaConf.load(tmp_path / "run/config.yaml")
    method = build_method(cfg.model, data_channels(cfg.data))
    method.load_state_dict(weights(read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")))
    data: Any = build_data(cfg.data, method)
    data.setup("test")
    shown = [method.translate(normalise(batch), noise_seed=i) for i, batch in enumerate(data.test_dataloader())]
    fake, real = (torch.cat([s[name] for s in shown]) for name in ("fake_B", "real_B"))
    assert len(real) == found["protocol"]["images"] == 106

    network = AlexNetFeatures()
    eight_bit = [((x + 1) * 127.5).round().to(torch.uint8) for x in (real, fake)]
    fid, kid = FrechetInceptionDistance(network), KernelInceptionDistance(network, subset_size=50)
    for metric in (fid, kid):
        metric.update(eight_bit[0], real=True)
        metric.update(eight_bit[1], real=False)
    torch.manual_seed(0)
    unit = (fake + 1) / 2, (real + 1) / 2
    expected = {
        "l1": (fake - real).abs().mean(),
        "psnr": PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3))(*unit),
        "ssim": StructuralSimilarityIndexMeasure(data_range=1.0)(*unit),
        "lpips": LearnedPerceptualImagePatchSimilarity("alex")(fake, real),
        "frechet_alexnet": fid.compute(),
    }
    assert found["last"]["kernel_alexnet"] == pytest.approx(float(kid.compute()[0]), rel=0.1)
    for name, value in expected.items():
        assert found["last"][name] == pytest.approx(float(value), rel=1e-4), name
    assert found["protocol"]["metrics"]["frechet_alexnet"]["sha256"] == feature_network("alexnet").sha256
