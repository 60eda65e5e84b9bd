"""Large images in tiles: as in one piece, as far as the network can see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import patchlight
from patchlight.errors import ConfigError, DataError
from patchlight.inference import Translator, tiled, tiles
from patchlight.inference.tiled import GlobalStatistics
from patchlight.inference.tiles import Cuts, Grid, spread_crops
from patchlight.methods import TranslationMethod

Make = Callable[..., tuple[Path, TranslationMethod]]
Draw = Callable[..., Image.Image]


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "multiple"),
    [
        (6000, 1024, 192, 4),
        (4096, 1024, 256, 256),
        (1028, 1024, 192, 4),
        (1280, 1024, 256, 256),
        (900, 384, 192, 4),
        (604, 384, 192, 4),
    ],
)
def test_tiles_cover_a_side_and_count_every_pixel_once(length: int, tile: int, overlap: int, multiple: int) -> None:
    cuts = Cuts.even(length, tile, overlap, multiple)
    assert (cuts.starts[0], cuts.starts[-1]) == (0, length - tile)
    assert all(start % multiple == 0 for start in cuts.starts)
    distances = np.diff(cuts.starts)
    assert distances.max() <= tile - overlap
    assert len(cuts.starts) == -(-(length - tile) // (tile - overlap)) + 1
    total = torch.zeros(length)
    for start, weights in zip(cuts.starts, cuts.weights(torch.device("cpu")), strict=True):
        total[start : start + tile] += weights
        unseen = (tile - distances.max()) // 4
        if start:
            assert weights[:unseen].max() == 0
        if start + tile < length:
            assert weights[-unseen:].max() == 0
    torch.testing.assert_close(total, torch.ones(length))


def test_a_side_that_fits_is_one_tile() -> None:
    assert Cuts.even(640, 1024, 192, 4) == Cuts(640, 640, (0,))
    assert Grid.of(1024, 2048, "auto", 4) is None
    assert Grid.of(1024, 2052, "auto", 4) == Grid(Cuts(1024, 1024, (0,)), Cuts(2052, 1024, (0, 512, 1028)))
    assert Grid.of(4000, 4000, None, 4) is None
    assert Grid.of(400, 500, 512, 4) is None
    with pytest.raises(DataError, match="tile=256 is too small for this network, which needs 384 or more"):
        Grid.of(4000, 4000, 256, 4)
    assert Grid.of(4096, 4096, "auto", 1024).rows.tile == 2048  # type: ignore[union-attr]


def test_crops_are_spread_over_the_image() -> None:
    crops = spread_crops(400, 600, 64, 4, 2**14)
    assert len(crops) == 4
    assert {(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in crops} == {(64, 64)}
    assert sorted({rows.start for rows, _ in crops}) == [0, 336]
    assert sorted({columns.start for _, columns in crops}) == [0, 536]
    assert spread_crops(16, 4000, 64, 4, 2**14)[0] == (slice(0, 16), slice(0, 64))
    assert spread_crops(512, 512, 1024, 256, 2**20) == [(slice(0, 512), slice(0, 512))]
    assert len(spread_crops(4000, 6000, 64, 4, 2**20)) == pytest.approx(256, rel=0.1)


@pytest.mark.parametrize("size", [(500, 741), (31, 900), (900, 7)], ids=str)
def test_without_norm_tiles_are_the_image_in_one_piece(make: Make, picture: Draw, size: tuple[int, int]) -> None:
    path, _ = make("cyclegan", "model.generator.norm=none")
    image = np.asarray(picture(size[1], size[0]))
    whole = patchlight.load(path, device="cpu", tile=None)
    in_tiles = patchlight.load(path, device="cpu", tile=384)
    assert in_tiles.in_tiles(*size)
    assert not whole.in_tiles(*size)
    values = torch.from_numpy(image / 127.5 - 1).permute(2, 0, 1).double()
    torch.testing.assert_close(in_tiles(values), whole(values), atol=1e-5, rtol=0)
    for array in (image, image.astype(np.uint16) * 257, np.dstack([image, image[:, :, :1]])):
        translated = in_tiles(array)
        assert translated.dtype == array.dtype
        assert translated.shape == array.shape
        difference = np.abs(translated.astype(int) - whole(array).astype(int))
        assert difference.max() <= (1 if array.dtype == np.uint8 else 2)


def whole_image_as_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled, "spread_crops", lambda height, width, *_: [(slice(0, height), slice(0, width))])


def error(translator: Translator, image: Tensor, whole: Tensor) -> float:
    return float((translator(image) - whole).abs().mean())


def test_with_the_statistics_of_the_image_tiles_are_the_image_in_one_piece(
    make: Make, picture: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = make("cyclegan")
    image = torch.from_numpy(np.asarray(picture(601, 400)) / 127.5 - 1).permute(2, 0, 1)
    whole = patchlight.load(path, device="cpu", tile=None)(image)
    in_tiles = patchlight.load(path, device="cpu", tile=384)
    sampled = error(in_tiles, image, whole)
    assert sampled < 0.06
    whole_image_as_sample(monkeypatch)
    torch.testing.assert_close(in_tiles(image), whole, atol=1e-4, rtol=0)
    # Tiles with statistics of their own would be far off.
    corner = patchlight.load(path, device="cpu", tile=None)(image[:, :384, :384])
    assert (corner - whole[:, :384, :384])[:, :288, :288].abs().mean() > 3 * max(sampled, 1e-4)
    # The network is as it was.
    torch.testing.assert_close(patchlight.load(path, device="cpu", tile=None)(image), whole, atol=0, rtol=0)
    assert torch.equal(in_tiles.translate(image[None, :, :64, :64].float()), in_tiles.generator(
        image[None, :, :64, :64].float()
    ))  # fmt: skip


def test_dropout_has_the_noise_of_the_image_in_one_piece(
    make: Make, picture: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = make("pix2pix", "model.generator.num_downs=6")
    whole_image_as_sample(monkeypatch)
    image = torch.from_numpy(np.asarray(picture(768, 512)) / 127.5 - 1).permute(2, 0, 1)
    loaded = patchlight.load(path, device="cpu", tile=None)
    assert any(isinstance(module, torch.nn.Dropout) for module in loaded.generator.modules())
    whole = loaded(image)
    in_tiles = patchlight.load(path, device="cpu", tile=512)
    same_noise = error(in_tiles, image, whole)
    in_tiles.noise_seed = 1
    assert same_noise < 0.25 * error(in_tiles, image, whole)


@pytest.mark.parametrize("tile", [0, -3, True, "big", 1.5])
def test_no_tile(make: Make, tile: object) -> None:
    with pytest.raises(ConfigError, match=r"^tile=.* should be auto, null for none, or the side of a tile in pixels$"):
        patchlight.load(make("cyclegan")[0], tile=tile)  # type: ignore[arg-type]


def test_nothing_larger_than_a_row_of_tiles_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "MIN_OVERLAP", 8)
    grid = Grid.of(128, 96, 32, 4)
    assert grid is not None
    image = torch.rand(3, 128, 96)
    rows: list[tuple[int, int]] = []
    result = torch.zeros_like(image)

    def finished(first: int, values: Tensor) -> None:
        rows.append((first, values.shape[1]))
        result[:, first : first + values.shape[1]] = values

    grid.blend(lambda place: image[:, place.rows, place.columns], finished, torch.device("cpu"))
    torch.testing.assert_close(result, image)
    assert max(n for _, n in rows) <= 32
    assert sum(n for _, n in rows) == 128


def test_which_norms_look_at_the_whole_image() -> None:
    instance, tracking = torch.nn.InstanceNorm2d(2), torch.nn.InstanceNorm2d(2, track_running_stats=True)
    batch, untracked = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2, track_running_stats=False)
    network = torch.nn.Sequential(instance, tracking, batch, untracked, torch.nn.Dropout(0.5), torch.nn.Dropout(0))
    whole = GlobalStatistics(network, own_statistics=False)
    assert (whole.norms, whole.dropout) == ([instance, untracked], [])
    whole = GlobalStatistics(network, own_statistics=True)
    assert (whole.norms, whole.dropout) == ([instance, tracking, batch, untracked], [network[4]])


def test_memory_is_kept_again_after_tiles_that_fail(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = patchlight.load(make("cyclegan")[0], device="cpu", tile=384)
    translator.keeps_memory = True
    told: list[str] = []
    monkeypatch.setattr(tiled, "return_memory", lambda: told.append("return"))
    monkeypatch.setattr(tiled, "retain_allocator_memory", lambda: told.append("keep"))
    monkeypatch.setattr(translator, "run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        translator(np.zeros((400, 400, 3), np.uint8))
    assert told == ["return", "keep"]
