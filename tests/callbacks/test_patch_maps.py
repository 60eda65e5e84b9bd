from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch.utils.data import DataLoader
from two_scales import TwoScales

from patchlight.callbacks import PatchMaps
from patchlight.methods import CycleGAN, Pix2Pix
from patchlight.networks import PatchDiscriminator, ResNetGenerator, UNetGenerator
from patchlight.pictures import Scale, overlay


def batches(n: int) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    images = [
        {name: torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1 for name in "AB"} | {"A_path": [], "B_path": []}
        for _ in range(n)
    ]
    return DataLoader(images, batch_size=None)  # type: ignore[arg-type]


def trainer(folder: Path, callback: PatchMaps, **settings: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[callback], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, num_sanity_val_steps=0,
        **settings,
    )  # fmt: skip


def pix2pix(**settings: Any) -> Pix2Pix:
    torch.manual_seed(0)
    return Pix2Pix(UNetGenerator(3, 3, 3, 4), PatchDiscriminator(6, 4, 1, **settings), inference_mode="eval")


def test_heat_maps_are_those_of_the_judged_images(tmp_path: Path) -> None:
    method = pix2pix()
    maps = PatchMaps(tmp_path, n_images=1, n_scored=3)
    trainer(tmp_path, maps).validate(method, batches(4), verbose=False)
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["step_00000000_discriminator.png"]
    shown = [method.translate(batch) for batch in batches(3)]
    judged = [method.score_pairs(images)["discriminator"] for images in shown]
    scale = Scale.of([logits for pair in judged for (logits,) in pair], method.boundary)
    (grid,) = method.discriminator.patch_grids(32, 32)
    for kind, image, logits in (("real", "real_B", judged[0][0][0]), ("fake", "fake_B", judged[0][1][0])):
        expected = np.asarray(overlay(shown[0][image][0], logits[0, 0], grid, scale))
        with Image.open(tmp_path / "latest" / f"00_discriminator_{kind}.png") as found:
            assert np.array_equal(np.asarray(found), expected)


def test_each_scale_has_a_picture_by_its_own_geometry(tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = Pix2Pix(UNetGenerator(3, 3, 3, 4), TwoScales(6), inference_mode="eval")
    maps = PatchMaps(tmp_path, n_images=1, n_scored=2)
    trainer(tmp_path, maps, limit_val_batches=2).fit(method, batches(1), batches(2))
    names = ["discriminator_scale1", "discriminator_scale2"]
    assert sorted(p.name for p in tmp_path.glob("*.png")) == [f"step_00000001_{name}.png" for name in names]
    shown = [method.translate(batch) for batch in batches(2)]
    judged = [method.score_pairs(images)["discriminator"] for images in shown]
    grids = method.discriminator.patch_grids(32, 32)
    assert [(grid.field, grid.stride, grid.offset, grid.size) for grid in grids] == [
        (16, 2, 3.0, (14, 14)), (32, 4, 6.0, (6, 6)),
    ]  # fmt: skip
    for number, (name, grid) in enumerate(zip(names, grids, strict=True)):
        scale = Scale.of([pair[kind][number] for pair in judged for kind in (0, 1)], method.boundary)
        expected = np.asarray(overlay(shown[0]["fake_B"][0], judged[0][1][number][0, 0], grid, scale))
        with Image.open(tmp_path / "latest" / f"00_{name}_fake.png") as found:
            assert np.array_equal(np.asarray(found), expected)


def test_cyclegan_has_a_picture_for_each_discriminator_when_due(tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = CycleGAN(
        ResNetGenerator(3, 3, 0, 4), ResNetGenerator(3, 3, 0, 4), PatchDiscriminator(3, 4, 1),
        PatchDiscriminator(3, 4, 1),
    )  # fmt: skip
    maps = PatchMaps(tmp_path, every_n_validations=2)
    trainer(tmp_path, maps, val_check_interval=1).fit(method, batches(3), batches(1))
    expected = [f"step_{step:08d}_discriminator_{domain}.png" for step in (1, 3) for domain in "ab"]
    assert sorted(p.name for p in tmp_path.glob("*.png")) == expected


@pytest.mark.parametrize("settings", [{"norm": "batch"}, {"norm": "none", "spectral_norm": True}])
def test_judging_leaves_no_trace(settings: dict[str, Any]) -> None:
    method = pix2pix(**settings)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    (images,) = [method.translate(batch) for batch in batches(1)]
    random = torch.get_rng_state()
    (real,), (fake,) = method.score_pairs(images)["discriminator"]
    assert real.shape == fake.shape == (1, 1, 14, 14)
    assert not real.requires_grad
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(module.training for module in method.discriminator.modules())


def test_it_judges_as_in_training() -> None:
    """With the statistics of the batch, whatever the running ones are."""
    method = pix2pix(norm="batch")
    (images,) = [method.translate(batch) for batch in batches(1)]
    pair = torch.cat([images["real_A"], images["real_B"]], dim=1)
    assert torch.equal(method.score_pairs(images)["discriminator"][0][0], method.discriminator(pair).detach())


@pytest.mark.parametrize(
    ("gan_mode", "labels", "expected"),
    [
        ("lsgan", (0.9, 0.1), 0.5),
        ("vanilla", (0.9, 0.0), 0.0),
        ("hinge", (1.0, 0.0), 0.0),
        ("relativistic", (1.0, 0.0), None),
    ],
)
def test_boundary_of_each_mode(gan_mode: Any, labels: tuple[float, float], expected: float | None) -> None:
    method = Pix2Pix(
        UNetGenerator(3, 3, 3, 4), PatchDiscriminator(6, 4, 1), gan_mode=gan_mode, real_label=labels[0],
        fake_label=labels[1],
    )  # fmt: skip
    assert method.boundary == expected


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="n_scored must be at least n_images=3, got 2"):
        PatchMaps(tmp_path, n_scored=2)
    with pytest.raises(ValueError, match="n_images and every_n_validations must be at least 1, got 0 and 1"):
        PatchMaps(tmp_path, n_images=0)
