"""Images of any depth and bands: their files, their range, and what becomes of hostile ones."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from patchlight.data import ImageDataModule
from patchlight.data.bands import Bands, bands_of
from patchlight.data.contents import contents_of
from patchlight.data.decoding import Decoding, read_values, values_header
from patchlight.data.image_files import open_picture, read_header
from patchlight.errors import DataError
from patchlight.inference.files import write_pixels
from patchlight.inference.pixels import to_arrays, to_values, with_values

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (6, 8, 4)).astype(np.uint16)
VALUES = Decoding(values=True)


def save_stack(path: Path, array: np.ndarray[Any, Any]) -> Path:
    first, *others = (Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(array, 2, 0))
    first.save(path, save_all=True, append_images=others)
    return path


@pytest.mark.parametrize("kind", ["png", "tif", "stack", "npy", "npz", "fortran"])
@pytest.mark.parametrize("depth", ["uint16", "float32"])
def test_every_kind_of_file_gives_its_own_values(kind: str, depth: str, tmp_path: Path) -> None:
    array = DEEP if depth == "uint16" else DEEP.astype(np.float32) / 7
    path = tmp_path / f"x.{'tif' if kind == 'stack' else 'npy' if kind == 'fortran' else kind}"
    match kind:
        case "png" | "tif":
            if depth == "float32":
                pytest.skip("no such file")
            cv2.imwrite(str(path), array[:, :, [2, 1, 0, 3]])
        case "stack":
            save_stack(path, array)
        case "npz":
            np.savez_compressed(path, array)
        case _:
            np.save(path, np.asfortranarray(array) if kind == "fortran" else array)
    found = read_values(path)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    header = values_header(path)
    assert (header.height, header.width, header.channels) == array.shape


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_an_upright_image(compression: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray((DEEP[:, :, 0] >> 8).astype(np.uint8)).save(tmp_path / "y.tif", exif=exif, compression=compression)
    assert np.array_equal(np.asarray(open_picture(tmp_path / "y.tif")), np.rot90(DEEP[:, :, 0] >> 8, -1))
    assert (read_header(tmp_path / "y.tif").height, read_header(tmp_path / "y.tif").width) == (8, 6)
    Image.fromarray(DEEP[:, :, 0]).save(tmp_path / "x.tif", exif=exif, compression=compression)
    assert np.array_equal(read_values(tmp_path / "x.tif")[:, :, 0], np.rot90(DEEP[:, :, 0], -1))
    assert (values_header(tmp_path / "x.tif").height, values_header(tmp_path / "x.tif").width) == (8, 6)


def _npy(shape: tuple[int, ...], descr: str = "<u2", body: bytes = b"") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + body


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([[{"a": 1}]], object), allow_pickle=True)
    (tmp_path / "huge.npy").write_bytes(_npy((2**20, 2**20)))
    (tmp_path / "bands.npy").write_bytes(_npy((2, 2, 5000)))
    (tmp_path / "short.npy").write_bytes(_npy((4, 4), body=b"12"))
    (tmp_path / "text.npy").write_bytes(_npy((4, 4), "<U4"))
    (tmp_path / "empty.npy").write_bytes(_npy((0, 4)))
    (tmp_path / "noise.npy").write_bytes(b"\x93NUMPY\x01\x00\xff\xff{")
    np.savez(tmp_path / "two.npz", a=DEEP, b=DEEP)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("x.npy", _npy((2**16, 2**16)))
    Image.new("P", (4, 4)).save(tmp_path / "palette.png")
    different = [Image.new("L", (4, 4)), Image.new("L", (5, 4))]
    different[0].save(tmp_path / "pages.tif", save_all=True, append_images=different[1:])
    expected = {
        "objects.npy": "it holds Python objects, which are never unpickled", "huge.npy": "too large to be decoded",
        "bands.npy": "of at most 1024 channels", "short.npy": "the file ends before its values do",
        "text.npy": "should be integers or floating point", "empty.npy": "is no image", "noise.npy": "cannot be read",
        "two.npz": "it holds 2 files: an .npz should hold one array", "bomb.npz": "too large to be decoded safely",
        "palette.png": "whose numbers are no values", "pages.tif": "its page 2 is 5x4, the first 4x4",
        "missing.npy": "No such file",
    }  # fmt: skip
    for name, message in expected.items():
        with pytest.raises(DataError, match=message) as raised:
            read_values(tmp_path / name)
        assert name in str(raised.value)


@pytest.mark.parametrize(
    ("depth", "limits"), [("uint16", [100, 9000]), ("uint8", [5, 200]), ("float32", [-40.5, 300.25]), ("uint16", None)]
)
def test_values_come_back(depth: Any, limits: Any) -> None:
    content = bands_of("a", 4, depth, limits, None, None)
    whole = Bands(depth, 4, ((0, 255),) * 4) if content is None else content
    low, high = whole.value_limits[0]
    array = (low + RNG.random((16, 16, 4)) * (high - low)).astype(depth)
    array[0, 0] = [low, high, low, high]
    values = to_values([whole.levels(array)], torch.device("cpu"), whole)
    assert values.min() == -1
    assert values.max() == 1
    back = to_arrays(whole.to_levels(values, values, 255))[0]
    assert back.dtype == array.dtype
    if depth == "float32":
        assert np.abs(back - array).max() <= 1e-6 * (high - low)
    else:
        assert np.array_equal(back, array)
    beyond = whole.to_levels(torch.tensor([float("nan"), 2.0, -3.0]).view(1, 1, 1, 3).expand(1, 4, 1, 3), values, 255)
    assert to_arrays(beyond)[0][0, :, 0].tolist() == pytest.approx([low, high, low])


def test_a_selection_of_bands_and_their_pictures() -> None:
    content = bands_of("a", 3, "uint16", None, [4, 2, 1], [2])
    assert content is not None
    levels = content.levels(DEEP)
    assert np.array_equal((levels * 65535).round(), DEEP[:, :, [3, 1, 0]])
    values = content.sample(levels)
    assert torch.equal(content.drawn(values), values[1:2])
    with pytest.raises(ValueError, match=r"it has 3 bands, and the bands \[4, 2, 1\] are wanted"):
        content.levels(DEEP[:, :, :3])


def test_pictures_that_do_not_suit() -> None:
    content = Bands("float32", 1, ((0, 1),))
    with pytest.raises(ValueError, match="2 of its 4 values are NaN or infinite"):
        content.levels(np.array([[0, np.nan], [np.inf, 1]], np.float32))
    with pytest.raises(ValueError, match="its values are uint8 where data.depth=uint16 wants others"):
        Bands("uint16", 1, ((0, 1),)).levels(np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="it has 4 bands where 1 are wanted"):
        content.levels(DEEP)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth_a": "int8"}, "data.depth_a=int8 should be one of uint8, uint16, float32"),
        ({"range_a": [5, 5]}, "data.range_a=.5, 5. should have limits, the lower one first"),
        ({"range_a": [0, 300]}, "within 0 to 255"),
        ({"range_a": [[0, 1], [0, 2]]}, "has 2 pairs where data.channels_a=3"),
        ({"range_a": {"percentiles": [50, 20]}}, "should have percentiles from 0 to 100"),
        ({"range_a": {"quantiles": [0, 1]}}, "should be .low, high., a pair for each band"),
        ({"bands_b": [1, 2]}, "are 2 bands where data.channels_b=3"),
        ({"bands_b": [0, 1, 2]}, "the first of which is 1"),
        ({"display_a": [1, 2]}, "should be one or three numbers of bands from 1 to data.channels_a=3"),
        ({"n_classes": 4, "depth_a": "uint16"}, "makes domain A label maps: leave out data.depth_a"),
        ({"colorization": True}, "goes from lightness to colour"),
        ({"colorization": True, "depth_b": "uint16"}, "takes pictures in RGB"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        contents_of({"direction": "AtoB", "channels_a": 3, "channels_b": 3, **settings})


def module(root: Path, **settings: Any) -> ImageDataModule:
    given: dict[str, Any] = {
        "channels_a": 4, "channels_b": 1, "depth_a": "uint16", "depth_b": "float32", "range_b": [0, 20000],
        "range_a": {"percentiles": [0, 100]}, "image_size": 4, "load_size": 5, "num_workers": 0, "val_size": 0,
    }  # fmt: skip
    data = ImageDataModule(root=root, **(given | settings))
    data.setup("fit")
    return data


def test_a_set_of_bands(tmp_path: Path) -> None:
    for folder in ("trainA", "trainB"):
        (tmp_path / folder).mkdir()
    for i in range(3):
        save_stack(tmp_path / f"trainA/{i}.tif", DEEP // (i + 1))
        np.save(tmp_path / f"trainB/{i}.npy", DEEP[:, :, :1].astype(np.float32) / (i + 4))
    data = module(tmp_path)
    lowest, highest = (f((DEEP // 3 if f is np.min else DEEP), axis=(0, 1)) for f in (np.min, np.max))
    assert data.measured == {"range_a": [[float(a), float(b)] for a, b in zip(lowest, highest, strict=True)]}
    batches = [list(module(tmp_path, cache=cache).train_dataloader()) for cache in (0, 0.01)]
    for uncached, cached in zip(*batches, strict=True):
        assert torch.equal(uncached["A"], cached["A"])
    batch = batches[0][0]
    assert batch["A"].shape == (1, 4, 4, 4)
    assert batch["A"].dtype == torch.float32
    assert -1 <= batch["A"].min() <= batch["A"].max() <= 1
    cached = module(tmp_path, cache=0.01)
    first = next(iter(cached.train_dataloader()))
    assert torch.equal(first["B"], next(iter(cached.train_dataloader()))["B"])
    plain = module(tmp_path, image_size=[6, 8], load_size=[6, 8], flip=False, range_a=None)
    (name,), planes = next((b["A_path"], b["A"]) for b in plain.train_dataloader())
    assert torch.equal(((planes[0] + 1) / 2 * 65535).round(), torch.from_numpy(
        (DEEP // (int(Path(name).stem) + 1)).astype(np.float32)).permute(2, 0, 1))  # fmt: skip
    with pytest.raises(DataError, match=r"channels_a=3 does not suit .*0\.tif: it has 4 bands where 3 are wanted"):
        module(tmp_path, channels_a=3)
    (tmp_path / "trainA").rename(tmp_path / "away")
    (tmp_path / "trainA").mkdir()
    with pytest.raises(DataError, match=r"trainA has no images: it should hold files that end with .*\.npy"):
        module(tmp_path)


def test_results_in_files(tmp_path: Path) -> None:
    deep, values = with_values(DEEP), with_values(DEEP.astype(np.float32) / 3)
    for name, pixels in (("a.tif", deep), ("a.png", deep), ("b.npy", deep), ("c.tif", values), ("d.npy", values)):
        write_pixels(tmp_path / name, pixels)
        assert np.array_equal(read_values(tmp_path / name), pixels.colour), name
    two = with_values(DEEP[:, :, :2])
    write_pixels(tmp_path / "two.tif", two)
    assert np.array_equal(read_values(tmp_path / "two.tif"), two.colour)
    for name, pixels, message in (
        ("a.png", values, "floating point, which png cannot hold"), ("a.png", two, "2 channels, which png cannot hold"),
        ("a.jpg", with_values(DEEP.astype(np.uint8)), "4 channels, which jpg cannot hold"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            write_pixels(tmp_path / name, pixels)
