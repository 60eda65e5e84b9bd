from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics.functional.image import (
    learned_perceptual_image_patch_similarity,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)  # fmt: skip

from patchlight.callbacks import Progress, Quality, Samples
from patchlight.callbacks.progress import steps_left
from patchlight.methods import CycleGAN, Pix2Pix
from patchlight.networks import PatchDiscriminator, ResNetGenerator, UNetGenerator


def batches(n: int = 3, channels: int = 3) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    images = [
        {"A": torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1,
         "B": torch.rand(1, channels, 32, 32, generator=generator) * 2 - 1}
        for _ in range(n)
    ]  # fmt: skip
    return DataLoader(images, batch_size=None)  # type: ignore[arg-type]


def pix2pix(channels: int = 3) -> Pix2Pix:
    torch.manual_seed(0)
    return Pix2Pix(UNetGenerator(3, channels, 3, 4), PatchDiscriminator(3 + channels, 4, 1), inference_mode="eval")


def trainer(folder: Path, *callbacks: Any, **settings: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", max_epochs=1, callbacks=list(callbacks), logger=False, enable_checkpointing=False,
        enable_progress_bar=any(isinstance(c, Progress) for c in callbacks), enable_model_summary=False,
        default_root_dir=folder, num_sanity_val_steps=0, **settings,
    )  # fmt: skip


def test_figures_equal_torchmetrics_by_hand(tmp_path: Path) -> None:
    method = pix2pix()
    (figures,) = trainer(tmp_path, Quality()).test(method, batches(), verbose=False)
    pairs = [(method.translate(batch)["fake_B"], batch["B"]) for batch in batches()]
    unit = [((a + 1) / 2, (b + 1) / 2) for a, b in pairs]
    expected = {
        "test/l1": torch.stack([(a - b).abs().mean() for a, b in pairs]).mean(),
        "test/psnr": torch.stack([peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in unit]).mean(),
        "test/ssim": torch.stack([structural_similarity_index_measure(a, b, data_range=1.0) for a, b in unit]).mean(),  # type: ignore[misc]
    }
    assert figures == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-4)


def test_a_second_test_starts_anew(tmp_path: Path) -> None:
    method, quality = pix2pix(), Quality()
    first = trainer(tmp_path, quality).test(method, batches(), verbose=False)
    assert trainer(tmp_path, quality).test(method, batches(), verbose=False) == first


def test_cycles_have_figures_of_their_own(tmp_path: Path) -> None:
    method = CycleGAN(
        ResNetGenerator(3, 3, 0, 4),
        ResNetGenerator(3, 3, 0, 4),
        PatchDiscriminator(3, 4, 1),
        PatchDiscriminator(3, 4, 1),
    )
    (figures,) = trainer(tmp_path, Quality()).validate(method, batches(), verbose=False)
    batch = [method.translate(b) for b in batches()]
    for domain in "AB":
        l1 = torch.stack([(i[f"rec_{domain}"] - i[f"real_{domain}"]).abs().mean() for i in batch]).mean().item()
        assert figures[f"val/rec_{domain}/l1"] == pytest.approx(l1, rel=1e-5)
    assert figures["val/l1"] == pytest.approx((figures["val/rec_A/l1"] + figures["val/rec_B/l1"]) / 2)


@pytest.mark.usefixtures("alexnet")
@pytest.mark.filterwarnings("ignore:.*weights.*:UserWarning")
def test_lpips_takes_gray_images_and_stays_out_of_the_module(tmp_path: Path) -> None:
    method = pix2pix(channels=1)
    (figures,) = trainer(tmp_path, Quality(lpips=True)).test(method, batches(channels=1), verbose=False)
    pairs = [
        (method.translate(b)["fake_B"].expand(-1, 3, -1, -1), b["B"].expand(-1, 3, -1, -1)) for b in batches(channels=1)
    ]
    values = [learned_perceptual_image_patch_similarity(a, b, net_type="alex") for a, b in pairs]
    assert figures["test/lpips"] == pytest.approx(torch.stack(values).mean().item(), rel=1e-3)
    assert not any("net" in key for key in method.state_dict() if not key.startswith(("generator", "discriminator")))


def test_samples_are_written_when_due(tmp_path: Path) -> None:
    samples = Samples(tmp_path / "s", n_images=2, every_n_validations=2)
    run = trainer(tmp_path, samples, val_check_interval=1)
    run.fit(pix2pix(), batches(4), batches())
    assert [p.name for p in sorted((tmp_path / "s").glob("*.png"))] == ["step_00000001.png", "step_00000003.png"]
    latest = [p.name for p in sorted((tmp_path / "s" / "latest").iterdir())]
    assert latest == [f"0{i}_{name}.png" for i in range(2) for name in ("fake_B", "real_A", "real_B")]
    with Image.open(tmp_path / "s" / "step_00000003.png") as sheet:
        assert sheet.size[0] == 2 * 16 + 3 * 128 + 2 * 8
    with pytest.raises(ValueError, match="n_images and every_n_validations must be at least 1"):
        Samples(tmp_path, n_images=0)


@pytest.mark.parametrize(("n", "size", "expected"), [(10, 4, 10), (9, 8, 9), (3, 4, 3), (10, 4, 6)])
def test_pictures_of_an_incomplete_last_batch(n: int, size: int, expected: int, tmp_path: Path) -> None:
    """Every image has its own row, that of its place in the set."""
    images = [{name: torch.full((3, 16, 16), i / 8 - 1) for name in "AB"} for i in range(n)]
    samples = Samples(tmp_path, n_images=expected)
    shown: list[float] = []
    samples.show = lambda trainer, method, kept: shown.extend(float(k["real_B"][0, 0, 0]) for k in kept)  # type: ignore[method-assign]
    method = Pix2Pix(UNetGenerator(3, 3, 2, 2), PatchDiscriminator(6, 2, 1))
    run = trainer(tmp_path, samples)
    for _ in range(2):
        shown.clear()
        run.validate(method, DataLoader(images, batch_size=size), verbose=False)  # type: ignore[arg-type]
        assert shown == [i / 8 - 1 for i in range(expected)]


def test_progress_says_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(refresh_rate=1)
    run = trainer(tmp_path, Quality(), progress)
    run.fit(pix2pix(), batches(4), batches())
    printed = capsys.readouterr().out
    assert re.search(r"^epoch 1/1  batch      4  l1 0\.\d{4}  psnr ", printed, re.MULTILINE)
    assert "Epoch 1/1" in printed
    assert "Epoch 0" not in printed
    assert progress.seconds_left == 0
    assert set(progress.terms) == {"g_gan", "g_l1", "g_total", "d_real", "d_fake", "d_total"}


def test_progress_knows_both_ends() -> None:
    run = Trainer(accelerator="cpu", max_epochs=5, max_steps=7, logger=False, enable_checkpointing=False)
    assert steps_left(run) == 7
    run = Trainer(accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False)
    assert steps_left(run) is None


def test_quality_keeps_no_module_state() -> None:
    assert not isinstance(Quality(), nn.Module)
