from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from patchlight.data.batches import collate
from patchlight.data.content import Colours
from patchlight.data.datasets import PairedDataset, UnpairedDataset
from patchlight.data.images import read_image, to_array, to_planes
from patchlight.data.loading import SampleKey
from patchlight.data.processing import Processing, read_pair
from patchlight.data.sources import Domains, domains_of
from patchlight.data.sources.folders import Files, SideBySide
from patchlight.data.transforms import Geometry
from patchlight.errors import DataError

RGB, GRAY = Colours(3), Colours(1)

KEEP = Processing(
    geometry=Geometry("none", (16, 16), (16, 16), flip=False), augment=None, content_a=RGB, content_b=RGB,
    direction="AtoB", seed=0, size_multiple=1, min_size=1,
)  # fmt: skip


@pytest.fixture
def domains(save: Any) -> Domains:
    a = Files([save(f"A/{i}.png", 16, 16) for i in range(3)])
    b = Files([save(f"B/{i}.png", 16, 16) for i in range(5)])
    return domains_of((a, b), "unpaired")


def tensor_of(path: Path | str, channels: Any = 3) -> torch.Tensor:
    return to_planes(to_array(read_image(path, channels)))


def test_halves_of_a_file(save: Any) -> None:
    path = save("x.png", 16, 40)
    pair = domains_of(SideBySide([path]), "paired")
    left, right = read_pair(pair.a[0], pair.b[0], RGB, GRAY)
    whole = read_image(path)
    assert np.array_equal(np.asarray(left), np.asarray(whole)[:, :20])
    assert np.array_equal(np.asarray(right), np.asarray(whole.convert("L"))[:, 20:, None])


def test_a_pair(domains: Domains) -> None:
    dataset = PairedDataset(Domains(domains.a, domains.b[:3]), replace(KEEP, content_a=GRAY))
    assert len(dataset) == 3
    sample = dataset[SampleKey(epoch=4, item=2)]
    assert (sample["A_path"], sample["B_path"]) == (domains.a[2].key, domains.b[2].key)
    assert torch.equal(sample["A"], tensor_of(domains.a[2].key, 1))  # type: ignore[arg-type]
    assert torch.equal(sample["B"], tensor_of(domains.b[2].key))  # type: ignore[arg-type]


def test_unpaired_images_meet_by_chance_in_training_and_in_turn_for_evaluation(domains: Domains) -> None:
    training = UnpairedDataset(domains, KEEP)
    assert len(training) == 5
    samples = [training[SampleKey(epoch, 4)] for epoch in range(40)]
    assert {s["A_path"] for s in samples} == {domains.a[1].key}
    assert {s["B_path"] for s in samples} == {image.key for image in domains.b}
    evaluation = UnpairedDataset(domains, replace(KEEP, geometry=KEEP.geometry.for_evaluation()))
    for i in range(5):
        sample = evaluation[i]
        assert sample["A_path"] == domains.a[i % 3].key
        assert sample["B_path"] == domains.b[i].key


def test_each_unpaired_image_has_its_own_crop_and_flip(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "x.png")
    twice = domains_of((Files([tmp_path / "x.png"]), Files([tmp_path / "x.png"])), "unpaired")
    crop = replace(KEEP, geometry=Geometry("crop", (24, 24), (16, 16), flip=True))
    samples = [UnpairedDataset(twice, crop)[SampleKey(epoch, 0)] for epoch in range(10)]
    assert sum(not torch.equal(s["A"], s["B"]) for s in samples) >= 8  # type: ignore[arg-type]


def test_domains_trade_places(domains: Domains) -> None:
    plain = UnpairedDataset(domains, replace(KEEP, content_b=GRAY))[3]
    turned = UnpairedDataset(domains, replace(KEEP, content_b=GRAY, direction="BtoA"))[3]
    assert (plain["A_path"], plain["B_path"]) == (turned["B_path"], turned["A_path"])
    assert torch.equal(plain["B"], turned["A"])  # type: ignore[arg-type]
    assert turned["A"].shape == (1, 16, 16)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [PairedDataset, UnpairedDataset])
def test_a_set_has_an_end(kind: Any, domains: Domains) -> None:
    dataset = kind(Domains(domains.a, domains.b[:3]), KEEP)
    assert [s["A_path"] for s in dataset] == [image.key for image in domains.a]
    for wrong in (3, -1, SampleKey(1, 3)):
        with pytest.raises(IndexError, match="is not in a set of 3 images"):
            dataset[wrong]


def test_images_of_different_size_share_no_batch(save: Any) -> None:
    files = Files([save("small.png", 16, 16), save("large.png", 16, 24)])
    dataset = PairedDataset(domains_of((files, files), "paired"), KEEP)
    with pytest.raises(
        DataError, match=r"small.png \(16x16\) and .*large.png \(24x16\) differ in size .* data.batch_size=1"
    ):
        collate([dataset[0], dataset[1]])
    batch = collate([dataset[0], dataset[0]])
    assert batch["A"].shape == (2, 3, 16, 16)
    assert batch["B_path"] == [files.key(0)] * 2
