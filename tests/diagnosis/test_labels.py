from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchlight.diagnosis.labels import find_palette, histogram, off_palette, snap


@pytest.fixture
def kit(request: pytest.FixtureRequest) -> Any:
    return request.config.pluginmanager.getplugin(str(Path(__file__).with_name("conftest.py")))


def as_jpeg(image: Image.Image, quality: int = 75) -> np.ndarray[Any, Any]:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def test_the_histogram_is_the_most_frequent_colours(kit: Any) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[0, 0], image[1, :3] = (1, 2, 3), (200, 100, 0)
    found = histogram(image, 2)
    assert found.colours.tolist() == [[0, 0, 0], [200, 100, 0]]
    assert found.fractions.tolist() == [12 / 16, 3 / 16]
    assert not found.complete
    assert histogram(image, 3).complete


def test_lossless_label_maps_have_their_colours(kit: Any) -> None:
    palette = find_palette([histogram(np.asarray(kit.label_map(i)), 256) for i in range(8)])
    assert palette is not None
    assert palette.lossless
    assert sorted(palette.hex()) == ["#0000de", "#00c878", "#faf00a", "#ff5000"]


def test_the_palette_of_jpeg_label_maps_is_found_and_snapped_to(kit: Any) -> None:
    maps = [kit.label_map(i, 128, 128) for i in range(12)]
    decoded = [as_jpeg(image) for image in maps]
    palette = find_palette([histogram(array, 256, lossy=True) for array in decoded])
    assert palette is not None
    assert not palette.lossless
    distances = np.abs(palette.colours[:, None] - kit.PALETTE.astype(int)[None]).max(axis=2)
    assert sorted(distances.argmin(axis=1)) == [0, 1, 2, 3]
    assert distances.min(axis=1).max() <= 3, "as JPEG decodes them"
    nearest = distances.argmin(axis=1)
    for image, array in zip(maps, decoded, strict=True):
        assert 0.01 < off_palette(array, palette, 8).mean() < 0.6
        clean = snap(array, palette, 8)
        assert off_palette(clean, palette, 0).mean() == 0
        truth = np.abs(np.asarray(image).astype(int)[:, :, None] - kit.PALETTE.astype(int)).max(axis=3).argmin(axis=2)
        ours = np.abs(clean.astype(int)[:, :, None] - palette.colours).max(axis=3).argmin(axis=2)
        assert (nearest[ours] == truth).mean() > 0.99


def test_snapping_invents_no_third_class() -> None:
    from patchlight.diagnosis.labels import Palette

    palette = Palette(np.array([[0, 0, 0], [255, 255, 255], [128, 128, 128]], np.int32), lossless=False)
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = 255
    image[:, 20] = 130  # a mixture, next to the grey of another class
    assert set(np.unique(snap(image, palette, 8))) == {0, 255}
    assert off_palette(image, palette, 2).sum() == 0
    assert off_palette(image, palette, 1).sum() == 40


@pytest.mark.parametrize("kind", ["plain", "white", "gray"])
def test_photos_are_no_label_maps(kind: str, kit: Any) -> None:
    images = []
    for i in range(12):
        array = np.array(kit.photo(i, 128, 128))
        if kind == "white":
            array[:40] = array[-40:] = 255
        if kind == "gray":
            array[:] = array.mean(axis=2, keepdims=True)
        images.append(histogram(as_jpeg(Image.fromarray(array)), 256, lossy=True))
    assert find_palette(images) is None
    assert find_palette([]) is None


def test_real_sets(shared: Path, kit: Any) -> None:
    images = []
    for path in sorted((shared / "data" / "facades" / "train").iterdir())[:60]:
        array = np.asarray(Image.open(path))
        images.append([histogram(array[:, :256], 256, 2, lossy=True), histogram(array[:, 256:], 256, 2, lossy=True)])
    assert find_palette([photo for photo, _ in images]) is None
    palette = find_palette([labels for _, labels in images])
    assert palette is not None
    assert {"#0000de", "#0030ff", "#0080ff", "#c0ff3f"} <= set(palette.hex())
    assert 10 <= len(palette.colours) <= 12, "of the twelve classes of CMP Facade"
