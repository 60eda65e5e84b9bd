"""Masks of valid pixels: from files to the losses and figures that count them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import l1_loss

from patchlight.data import Augment, ImageDataModule, normalise
from patchlight.errors import DataError
from patchlight.methods.pix2pix import valid_l1
from patchlight.metrics.paired import PairedMetrics, update

RNG = np.random.default_rng(0)


def write_set(root: Path, n: int = 3, side: int = 12) -> None:
    """Pairs of which A is white where the mask is valid, and B the same with noise."""
    for folder in ("trainA", "trainB", "train_mask"):
        (root / folder).mkdir(parents=True)
    for i in range(n):
        valid = RNG.random((side, side)) < 0.5
        Image.fromarray(valid.astype(np.uint8) * 255).convert("RGB").save(root / f"trainA/{i}.png")
        Image.fromarray(valid.astype(np.uint8) * 255).convert("RGB").save(root / f"trainB/{i}.jpg", quality=100)
        Image.fromarray(valid.astype(np.uint8) * (i + 1)).save(root / f"train_mask/{i}.png")


def module(root: Path, **settings: Any) -> ImageDataModule:
    given: dict[str, Any] = {"mask": True, "image_size": 8, "load_size": 12, "num_workers": 0, "val_size": 0}
    data = ImageDataModule(root=root, **(given | settings))
    data.setup("fit")
    return data


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_a_mask_moves_with_its_pair(augmented: bool, direction: str, tmp_path: Path) -> None:
    write_set(tmp_path)
    augment = Augment(geometry=[albumentations.Transpose(p=0.5)]) if augmented else None
    data = module(tmp_path, direction=direction, augment=augment, cache=0.01)
    for _ in range(2):  # read, and from the cache
        for batch in map(normalise, data.train_dataloader()):
            white = batch["A" if direction == "AtoB" else "B"][:, :1] > 0
            assert batch["valid"].dtype == torch.float32
            assert torch.equal(batch["valid"] > 0, white)


def test_masks_that_do_not_suit(tmp_path: Path) -> None:
    write_set(tmp_path)
    with pytest.raises(DataError, match="is of pairs in folders"):
        module(tmp_path, pairing="unpaired")
    Image.new("L", (5, 4)).save(tmp_path / "train_mask/1.png")
    with pytest.raises(DataError, match=r"1\.png is 5x4 pixels, its pair 12x12"):
        module(tmp_path)
    (tmp_path / "train_mask/1.png").unlink()
    with pytest.raises(DataError, match=r"1\.png has no mask of its name in .*train_mask"):
        module(tmp_path)
    (tmp_path / "train_mask").rename(tmp_path / "away")
    with pytest.raises(DataError, match="train_mask is not there: data.mask=true looks for the masks"):
        module(tmp_path)


def test_a_mask_is_of_the_image_at_its_path(tmp_path: Path) -> None:
    """Not of another one that has its name in another folder."""
    root = tmp_path / "set"
    for i, folder in enumerate(("x", "y")):
        for domain in ("trainA", "trainB", "train_mask"):
            (root / domain / folder).mkdir(parents=True)
            Image.new("L", (8, 8), i if domain == "train_mask" else 9).save(root / domain / folder / "1.png")
    batches = list(module(root).train_dataloader())
    assert {Path(b["A_path"][0]).parent.name: float(b["valid"].float().mean()) for b in batches} == {"x": 0.0, "y": 1.0}
    (root / "train_mask/x/1.png").rename(root / "train_mask/1.png")
    with pytest.raises(DataError, match=r"trainA/x/1\.png has no mask of its name in .*train_mask"):
        module(root)


def test_masks_of_pairs_side_by_side(tmp_path: Path) -> None:
    for i, folder in enumerate(("x", "y")):
        for name, size in (("train", (16, 8)), ("train_mask", (8, 8))):
            (tmp_path / name / folder).mkdir(parents=True)
            Image.new("L", size, i).save(tmp_path / name / folder / "1.png")
    batches = list(module(tmp_path, load_size=8).train_dataloader())
    assert {Path(b["A_path"][0]).parent.name: float(b["valid"].float().mean()) for b in batches} == {"x": 0.0, "y": 1.0}


@pytest.mark.parametrize("name", ["1.jpg", "1.JPEG", "1.png"])
def test_a_mask_is_no_jpeg(name: str, tmp_path: Path) -> None:
    """By its name, or by its content."""
    write_set(tmp_path)
    (tmp_path / "train_mask/1.png").unlink()
    Image.new("L", (12, 12)).save(tmp_path / "train_mask" / name, "JPEG")
    with pytest.raises(DataError, match=r"train_mask/1\..* a JPEG, which does not keep .*: use PNG"):
        list(module(tmp_path).train_dataloader())


def test_what_is_not_valid_changes_nothing() -> None:
    random = torch.Generator().manual_seed(0)
    target, fake = (torch.rand(3, 3, 16, 16, generator=random) * 2 - 1 for _ in range(2))
    valid = (torch.rand(3, 1, 16, 16, generator=random) < 0.5).float()
    valid[2] = 0
    other = torch.where(valid > 0, fake, torch.rand(fake.shape, generator=random) * 2 - 1)
    assert torch.equal(valid_l1(fake, target, valid), valid_l1(other, target, valid))
    inside = valid.expand_as(fake) > 0
    each = torch.stack([valid_l1(fake[i : i + 1], target[i : i + 1], valid[i : i + 1]) for i in range(3)])
    assert torch.allclose(each[0], (fake - target)[0][inside[0]].abs().mean())
    assert each[2] == 0
    assert torch.allclose(valid_l1(fake, target, valid), each.mean()), "the same in one batch as in several"
    half = valid_l1(fake[:1].half(), target[:1].half(), valid[:1])
    assert half.dtype == torch.float32, "65,520 valid values are infinitely many in float16"
    assert valid_l1(fake, target, valid * 0) == 0
    assert torch.allclose(valid_l1(fake, target, valid * 0 + 1), l1_loss(fake, target))

    def figures(image: torch.Tensor, mask: torch.Tensor | None) -> dict[str, float]:
        metrics = PairedMetrics().collection((16, 16))
        update(metrics, image, target, mask)
        return {name: float(value) for name, value in metrics.compute().items()}

    found = figures(fake, valid)
    assert found == figures(other, valid)
    assert found["l1"] == pytest.approx((fake - target)[inside].abs().mean().item(), rel=1e-6)
    errors = [
        ((f - t)[m.expand_as(f) > 0].square().mean() / 4).item() for f, t, m in zip(fake, target, valid, strict=True)
    ]
    assert found["psnr"] == pytest.approx(np.mean([-10 * np.log10(error) for error in errors[:2]]), rel=1e-5)
    for name, value in figures(fake, None).items():
        assert figures(fake, valid * 0 + 1)[name] == pytest.approx(value, rel=1e-5), name
