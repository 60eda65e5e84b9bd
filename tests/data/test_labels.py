"""Label maps: class indices and instances on their way to one-hot channels and boundaries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from label_sets import palette_image, write_label_set
from PIL import Image

from patchlight.data import Augment, ImageDataModule, normalise
from patchlight.data.images import to_float
from patchlight.data.labels import LabelMaps, class_colours, drawable, label_maps
from patchlight.errors import DataError

CLASSES = np.array([[0, 0, 1, 2], [0, 3, 3, 2]], np.uint8)
INSTANCES = np.array([[0, 0, 1000, 2], [0, 3001, 3002, 2]], np.uint16)


@pytest.mark.parametrize("kind", ["palette", "gray", "16 bits", "array"])
def test_classes_become_channels(kind: str) -> None:
    pictures = {
        "palette": palette_image(CLASSES), "gray": Image.fromarray(CLASSES), "array": CLASSES.astype(np.int32),
        "16 bits": Image.fromarray(CLASSES.astype(np.uint16)),
    }  # fmt: skip
    labels = LabelMaps(5)
    levels = labels.outlined(labels.levels(pictures[kind]))
    assert levels.dtype == np.uint8
    channels = labels.to_channels(torch.from_numpy(levels)[None].permute(0, 3, 1, 2))
    assert channels.shape == (1, 5, 2, 4)
    for i in range(5):
        assert torch.equal(channels[0, i], torch.from_numpy(i == CLASSES).float())


def test_boundaries_of_instances() -> None:
    labels = LabelMaps(4, instances=True)
    levels = labels.levels(np.dstack([CLASSES, INSTANCES]))
    assert (levels[:, :, 1].astype(int) * 256 + levels[:, :, 2]).tolist() == INSTANCES.tolist()
    outlined = labels.outlined(levels)
    assert outlined[:, :, 1].tolist() == [[0, 1, 1, 1], [1, 1, 1, 1]]
    channels = labels.to_channels(torch.from_numpy(outlined)[None].permute(0, 3, 1, 2))
    assert channels.shape[1] == labels.channels == 5
    assert torch.equal(channels[0, 4], torch.from_numpy(outlined[:, :, 1]).float())


@pytest.mark.parametrize(
    ("labels", "picture", "message"),
    [
        (LabelMaps(3), CLASSES, "it holds the class 3, and data.n_classes=3 allows 0 to 2"),
        (LabelMaps(3), CLASSES.astype(int) - 1, "it holds the class -1"),
        (LabelMaps(3), CLASSES.astype(float), "type float64 is no label map"),
        (LabelMaps(4), Image.fromarray(CLASSES).convert("RGB"), "it is RGB, and a label map"),
        (LabelMaps(4), np.dstack([CLASSES, INSTANCES]), "it has 2 channels, and a label map has 1, the class"),
        (LabelMaps(4, True), CLASSES, "it has 1 channel, and a label map has 2, the class and the instance"),
        (
            LabelMaps(4, True),
            np.dstack([CLASSES, INSTANCES.astype(int) + 65000]),
            "it holds the instances 65000 to 68002",
        ),
    ],
)
def test_what_is_refused(labels: LabelMaps, picture: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        labels.levels(picture)


def test_keys() -> None:
    assert label_maps(None, False) is None
    with pytest.raises(DataError, match="data.instances=true is of label maps: give data.n_classes"):
        label_maps(None, True)
    for n_classes in (1, 257, True):
        with pytest.raises(DataError, match=f"data.n_classes={n_classes} should be an integer from 2 to 256"):
            label_maps(n_classes, False)


def loaded(root: Path, **settings: Any) -> dict[str, Any]:
    """A batch of training, as the step sees it."""
    data = ImageDataModule(
        root, n_classes=4, num_workers=0, cache=0.1, **{"load_size": 8, "image_size": 8, "batch_size": 4, **settings}
    )
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["A"].dtype == torch.uint8
    return normalise(batch, label_maps(4, settings.get("instances", False)))


@pytest.mark.parametrize("kind", ["P", "L"])
def test_labels_and_images_stay_together(kind: str, tmp_path: Path) -> None:
    """Each photo shows the class in its brightness: after resize by whole factors, crop and flip it still does."""
    write_label_set(tmp_path, kind=kind)
    batch = loaded(tmp_path, load_size=8, image_size=4)
    assert batch["A"].shape == (4, 4, 4, 4)
    assert torch.equal(batch["A"].sum(dim=1), torch.ones(4, 4, 4))
    assert torch.equal(to_float(batch["A"].argmax(dim=1).to(torch.uint8) * 60), batch["B"][:, 0])
    large = loaded(tmp_path, load_size=13, image_size=13)
    assert torch.equal(large["A"].sum(dim=1), torch.ones(4, 13, 13))  # no blends of two classes


def test_labels_in_the_files_second_domain(tmp_path: Path) -> None:
    write_label_set(tmp_path)
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}A").rename(tmp_path / "moved")
        (tmp_path / f"{split}B").rename(tmp_path / f"{split}A")
        (tmp_path / "moved").rename(tmp_path / f"{split}B")
    batch = loaded(tmp_path, direction="BtoA")
    assert torch.equal(to_float(batch["A"].argmax(dim=1).to(torch.uint8) * 60), batch["B"][:, 0])


def test_instances_beside_the_labels(tmp_path: Path) -> None:
    write_label_set(tmp_path, instances=True)
    batch = loaded(tmp_path, instances=True, flip=False)
    assert batch["A"].shape == (4, 5, 8, 8)
    name = Path(batch["A_path"][0]).name
    numbers = np.asarray(Image.open(tmp_path / "train_instances" / name)).astype(int)
    padded = np.pad(numbers, 1, mode="edge")
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    expected = np.any([other != numbers for other in neighbours], axis=0)
    assert torch.equal(batch["A"][0, 4], torch.from_numpy(expected).float())
    (tmp_path / "train_instances" / "0.png").unlink()
    with pytest.raises(DataError, match=r"0.png without a partner of the same name in .*train_instances"):
        loaded(tmp_path, instances=True)


def test_a_class_out_of_range_is_named_with_its_file(tmp_path: Path) -> None:
    write_label_set(tmp_path)
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / "trainA/2.png")
    with pytest.raises(DataError, match=r"trainA/2.png.*it holds the class 9, and data.n_classes=4 allows 0 to 3"):
        loaded(tmp_path)


@pytest.mark.parametrize("name", ["2.png", "2.jpg"])
def test_images_of_colours_are_refused_by_their_headers(name: str, tmp_path: Path) -> None:
    write_label_set(tmp_path)
    (tmp_path / "trainA/2.png").unlink()
    image = Image.fromarray(np.zeros((8, 8), np.uint8))
    (image if name == "2.jpg" else image.convert("RGB")).save(tmp_path / "trainA" / name)
    wrong = "it is a JPEG, which changes" if name == "2.jpg" else "it is RGB"
    with pytest.raises(DataError, match=rf"data.n_classes=4 does not suit .*trainA/{name}: {wrong}"):
        loaded(tmp_path)


def test_augmentation_keeps_classes(tmp_path: Path) -> None:
    import albumentations

    write_label_set(tmp_path)
    batch = loaded(tmp_path, augment=Augment(geometry=[albumentations.Rotate(limit=(30, 30), p=1)]))
    assert torch.equal(batch["A"].sum(dim=1), torch.ones(4, 8, 8))
    with pytest.raises(DataError, match="data.augment.colour_a changes colours, and domain A is label maps"):
        loaded(tmp_path, augment=Augment(colour_a=[albumentations.InvertImg(p=1)]))


def test_label_maps_are_drawn_in_colours() -> None:
    labels = LabelMaps(4, instances=True)
    outlined = labels.outlined(labels.levels(np.dstack([CLASSES, np.array([[0, 0, 5, 5], [0, 0, 5, 5]])])))
    channels = labels.to_channels(torch.from_numpy(outlined)[None].permute(0, 3, 1, 2))[0]
    expected = class_colours(4)[CLASSES]
    assert class_colours(4).tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    plain = drawable(channels[:4])
    assert torch.equal(plain, to_float(torch.from_numpy(expected).permute(2, 0, 1)))
    drawn = drawable(channels)
    assert torch.equal(drawn[:, :, 1:3], torch.ones(3, 2, 2))
    assert torch.equal(drawn[:, :, [0, 3]], plain[:, :, [0, 3]])
    photo = torch.rand(3, 2, 2) * 2 - 1
    assert drawable(photo) is photo
    white = torch.ones(3, 2, 2)
    assert drawable(white) is white
