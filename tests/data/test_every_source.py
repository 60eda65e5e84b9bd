"""Every source of images gives what the same images in folders give: the same bits in the same order."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from source_sets import DEEP_SETS, SETS, SPLITS, Files, encoded_pairs, rows, write_arrow, write_folders, write_parquet

import patchlight
from commands import Typed
from patchlight.data import ImageDataModule
from patchlight.data.sources import (
    Folders,
    Manifest,
    Shards,
    SinglePair,
    StoredSet,
    Table,
    open_picture,
)
from patchlight.data.sources.folders import Files as DiskFiles
from patchlight.data.sources.shards.encoding import encode_exactly
from patchlight.data.sources.table import table_files
from patchlight.errors import DataError
from small_models import write_checkpoint

Array = NDArray[Any]


@pytest.fixture(scope="module")
def files() -> Files:
    return encoded_pairs()


def module(source: Any, pairing: Any, workers: int = 0, **settings: Any) -> ImageDataModule:
    defaults: dict[str, Any] = {"load_size": 20, "image_size": 16, "batch_size": 2, "seed": 3}
    data = ImageDataModule(pairing=pairing, source=source, num_workers=workers, **(defaults | settings))
    data.setup()
    return data


def images(batches: Any) -> list[torch.Tensor]:
    return [torch.cat([batch["A"], batch["B"]]) for batch in batches]


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
@pytest.mark.parametrize("name", SETS)
def test_the_same_bits_as_of_folders(name: str, pairing: Any, files: Files, tmp_path: Path) -> None:
    write, make = SETS[name]
    (tmp_path / "own").mkdir()
    source = make(write(files, tmp_path / "own"), pairing)
    expected = module(Folders(write_folders(files, tmp_path / "folders"), pairing), pairing)
    data = module(source, pairing)
    assert data.describe()["images"] == {
        "train": {"A": 6, "B": 6}, "val": {"A": 1, "B": 1}, "test": {"A": 3, "B": 3},
    }  # fmt: skip
    assert data.describe()["root"] == str(source.root.resolve())
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        assert same(images(getattr(data, loader)()), images(getattr(expected, loader)())), loader
    whole = images(data.train_dataloader())
    if pairing == "paired":  # in workers, which are forked after this process has read
        assert same(images(module(source, pairing, workers=2, cache=0).train_dataloader()), whole)
    # Later in the epoch, in another process's copy.
    rest = module(pickle.loads(pickle.dumps(source)), pairing)
    rest.begin_at(0, 2)
    assert same(images(rest.train_dataloader()), whole[1:])


def encoded(suffix: str, array: Array) -> bytes:
    """The content of a file with the values of an array: TIFF of five channels has a page for each."""
    stream = io.BytesIO()
    match suffix:
        case ".npy":
            np.save(stream, array)
        case ".npz":
            np.savez_compressed(stream, array)
        case ".tif" if array.shape[2] in (1, 5):
            first, *others = (Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(array, 2, 0))
            first.save(stream, "TIFF", save_all=True, append_images=others)
        case _:
            swapped = array[:, :, [2, 1, 0, *range(3, array.shape[2])]] if array.shape[2] > 1 else array
            stream.write(cv2.imencode(suffix, swapped)[1].tobytes())
    return stream.getvalue()


KINDS: list[tuple[str, str, int]] = [
    (".png", "uint16", 3), (".png", "uint16", 4), (".png", "uint16", 1), (".png", "uint8", 3), (".tif", "uint16", 3),
    (".tif", "uint16", 5), (".tif", "float32", 1), (".npy", "uint16", 2), (".npy", "float32", 3),
    (".npz", "float32", 1), (".png", "float32", 3),
]  # fmt: skip
"""Ending, type and channels of the files of domain A; of the last kind are numbers of 16 bits, taken as they are."""


def values(batches: Any, domain: str = "A", high: int = 65535) -> list[bytes]:
    """The images of batches in the values of their files, in any order."""
    planes = [image for batch in batches for image in batch[domain]]
    return sorted(
        ((image + 1) / 2 * high).round().permute(1, 2, 0).numpy().astype(np.uint16).tobytes() for image in planes
    )


@pytest.mark.parametrize("name", [*DEEP_SETS, "single"])
def test_the_values_of_any_kind_of_file(name: str, tmp_path: Path) -> None:
    """Not cut to 8 bits anywhere, from any source: of 16 bits, floating point, and any bands."""
    rng = np.random.default_rng(0)
    for number, (suffix, depth, channels) in enumerate(KINDS):
        high = 255 if depth == "uint8" else 65535
        stored = "uint16" if (suffix, depth) == (".png", "float32") else depth
        arrays = [
            rng.integers(0, high + 1, (6, 8, channels)).astype(stored) for _ in range(1 if name == "single" else 3)
        ]
        files = {f"trainA/{i}{suffix}": encoded(suffix, array) for i, array in enumerate(arrays)}
        files |= {
            f"trainB/{i}.png": encoded(".png", array[:, :, :1].astype(np.uint8)) for i, array in enumerate(arrays)
        }
        root = tmp_path / str(number)
        root.mkdir()
        if name == "single":
            write_folders(files, root)
            source: Any = SinglePair(root / f"trainA/0{suffix}", root / "trainB/0.png")
        else:
            write, make = DEEP_SETS[name]
            source = make(write(files, root), "paired")
        settings: dict[str, Any] = {
            "depth_a": depth, "channels_a": channels, "channels_b": 1, "load_size": [6, 8], "image_size": [6, 8],
            "flip": False, "val_size": 0, "batch_size": 1,
        }  # fmt: skip
        data = module(source, "paired", **settings, range_a=[0, high])
        found = values(data.train_dataloader(), high=high)
        assert found == sorted(array.astype(np.uint16).tobytes() for array in arrays), (suffix, depth, channels)
        measured = module(source, "paired", **settings, range_a={"percentiles": [0, 100]}).measured["range_a"]
        every = np.stack(arrays).reshape(-1, channels)
        assert measured == [[float(low), float(top)] for low, top in zip(every.min(0), every.max(0), strict=True)]


@pytest.mark.parametrize("name", ["folders", "zip", "tar", "shards"])
def test_pairs_of_16_bits_side_by_side(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 65536, (6, 16, 3)).astype(np.uint16) for _ in range(3)]
    write, make = DEEP_SETS[name]
    root = write({f"train/{i}.png": encoded(".png", array) for i, array in enumerate(arrays)}, tmp_path)
    settings: dict[str, Any] = {"load_size": [6, 8], "image_size": [6, 8], "flip": False, "val_size": 0}
    data = module(make(root, "paired"), "paired", depth_a="uint16", depth_b="uint16", batch_size=1, **settings)
    assert values(data.train_dataloader()) == sorted(array[:, :8].tobytes() for array in arrays)
    assert values(data.train_dataloader(), "B") == sorted(array[:, 8:].tobytes() for array in arrays)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of a model of colours, which reads any depth and gives it back, and of one of values of 16 bits."""
    paths = [tmp_path_factory.mktemp("models") / name for name in ("colours.ckpt", "values.ckpt")]
    deep = ("data.depth_a=uint16", "data.depth_b=uint16", "data.range_a=[0,65535]", "data.range_b=[0,65535]")
    for path, more in zip(paths, ((), deep), strict=True):
        write_checkpoint(path, "pix2pix", "data.load_size=32", "data.image_size=32", *more)
    return paths


@pytest.mark.parametrize("name", [*DEEP_SETS, "side by side"])
def test_translate_keeps_16_bits_of_any_source(
    name: str, checkpoints: list[Path], typed: Typed, tmp_path: Path
) -> None:  # fmt: skip
    rng = np.random.default_rng(0)
    arrays = {
        f"train{domain}/{i}.png": rng.integers(0, 65536, (32, 32, 3)).astype(np.uint16)
        for i in range(2)
        for domain in "AB"
    }
    files = {path: encoded(".png", array) for path, array in arrays.items()}
    if name == "side by side":  # in shards; in folders and archives a file is an image
        pairs = [np.hstack([arrays[f"train{domain}/{i}.png"] for domain in "AB"]) for i in range(2)]
        files = {f"train/{i}.png": encoded(".png", pair) for i, pair in enumerate(pairs)}
    (tmp_path / "own").mkdir()
    root = DEEP_SETS.get(name, DEEP_SETS["shards"])[0](files, tmp_path / "own")
    wanted = [array for path, array in arrays.items() if "A/" in path or name in ("folders", "zip", "tar")]
    for number, ckpt in enumerate(checkpoints):
        given = (f"ckpt={ckpt}", "device=cpu", "precision=32-true", "batch_size=1", f"input={root}")
        outcome = typed("translate", *given, f"output=out{number}")
        assert (outcome.status, outcome.err) == (0, "")
        made = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in Path(f"out{number}").rglob("*.png")]
        assert {image.dtype for image in made} == {np.dtype(np.uint16)}
        translator = patchlight.load(ckpt, device="cpu")
        expected = [translator(array)[:, :, ::-1] for array in wanted]
        assert sorted(image.tobytes() for image in made) == sorted(image.tobytes() for image in expected)


def test_16_bits_that_a_source_of_ones_own_has_narrowed_are_refused(tmp_path: Path) -> None:
    class Own(DiskFiles):
        def read(self, index: int) -> Image.Image:
            return open_picture(self.paths[index])

    (tmp_path / "x.png").write_bytes(encoded(".png", np.full((8, 8, 3), 300, np.uint16)))

    def own(*, split: str) -> Any:
        paths = [tmp_path / "x.png"] if split == "train" else []
        return Own(paths), Own(paths)

    data = module(own, "paired", depth_a="float32", val_size=0)
    with pytest.raises(DataError, match=r"x\.png .*data\.depth=float32: it has 16 bits, of which its source reads 8"):
        next(iter(data.train_dataloader()))
    with pytest.raises(DataError, match=r"x\.png has several channels of 16 bits, which only format=keep keeps"):
        encode_exactly(open_picture(tmp_path / "x.png"), "x.png")


def with_masks(name: str, root: Path) -> StoredSet:
    """Pairs of which A is white where the mask is valid, from a source of this name."""
    rng = np.random.default_rng(0)
    files: Files = {}
    for i in range(3):
        valid = (rng.random((16, 16, 1)) < 0.5).astype(np.uint8)
        files |= {f"train{domain}/{i}.png": encoded(".png", valid * 255) for domain in "AB"}
        files[f"train_mask/{i}.png"] = encoded(".png", valid * (i + 1))
    cells = [[f"{folder}/{i}.png" for i in range(3)] for folder in ("trainA", "trainB", "train_mask")]
    match name:
        case "csv":
            write_folders(files, root)
            (root / "pairs.csv").write_text("\n".join(map(",".join, [("a", "b", "mask"), *zip(*cells, strict=True)])))
            return Manifest(root / "pairs.csv")
        case "table":
            columns = {
                name: [files[cell] for cell in column] for name, column in zip(("a", "b", "mask"), cells, strict=True)
            }
            pq.write_table(pa.table(columns), root / "train.parquet")
            return Table(root)
        case _:
            write, make = DEEP_SETS[name]
            return make(write(files, root), "paired")


@pytest.mark.parametrize("name", ["folders", "zip", "tar", "csv", "table"])
def test_masks_from_every_source_that_has_a_place_for_them(name: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"mask": True, "channels_a": 1, "channels_b": 1, "load_size": 16, "image_size": 16}
    data = module(with_masks(name, tmp_path), "paired", val_size=1, batch_size=1, **settings)
    batches = [*data.train_dataloader(), *data.val_dataloader()]
    assert len(batches) == 3
    for batch in batches:
        assert batch["valid"].sum() > 0
        assert torch.equal(batch["valid"] * 255, batch["A"])


def test_masks_that_are_not_there(tmp_path: Path) -> None:
    for name in ("csv", "table", "shards"):
        (tmp_path / name).mkdir()
    (tmp_path / "csv/pairs.csv").write_text("a,b\nx.png,y.png\n")
    (tmp_path / "csv/x.png").write_bytes(encoded(".png", np.zeros((16, 16, 1), np.uint8)))
    (tmp_path / "csv/y.png").write_bytes((tmp_path / "csv/x.png").read_bytes())
    pq.write_table(
        pa.table({name: [(tmp_path / "csv/x.png").read_bytes()] for name in "ab"}), tmp_path / "table/x.parquet"
    )
    for source, message in (
        (Manifest(tmp_path / "csv/pairs.csv"), "pairs.csv has no column mask, in which data.mask=true looks for masks"),
        (
            Table(tmp_path / "table/x.parquet"),
            r"has no column mask of encoded images: data\.source\.column_mask should be",
        ),
        (Shards(tmp_path / "shards"), "data.mask=true is of pairs in folders, an archive, a manifest or a table"),
        (SinglePair("x.png", "y.png"), "data.mask=true is of pairs in folders, an archive, a manifest or a table"),
    ):
        with pytest.raises(DataError, match=message):
            module(source, "paired", mask=True)


def test_conditions_are_those_of_the_input_and_arrive_in_the_batch(files: Files, tmp_path: Path) -> None:
    write_folders(files, tmp_path)
    lines = [
        "a,b,split,class_id,dose,caption",
        *(f"{a},{b},{s},{i},{i}.5,no {i}" for i, (a, b, s) in enumerate(rows(files))),
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(lines), encoding="utf-8")
    for pairing, direction in (("paired", "AtoB"), ("unpaired", "AtoB"), ("unpaired", "BtoA")):
        data = module(Manifest(tmp_path / "pairs.csv", pairing), pairing, direction=direction)  # type: ignore[arg-type]
        for batch in data.train_dataloader():
            row = torch.tensor([int(Path(path).stem) for path in batch["A_path"]])
            assert torch.equal(batch["class_id"], row)
            assert torch.equal(batch["dose"], row + torch.tensor(0.5))
            assert batch["dose"].dtype == torch.float32
            assert batch["caption"] == [f"no {i}" for i in row.tolist()]
    data = module(Table(write_parquet(files, tmp_path), conditions=["label"]), "paired")
    assert [batch["label"].tolist() for batch in data.test_dataloader()] == [[0], [1], [2]]


@pytest.mark.parametrize("pairs", [[("f0", "f1"), ("f1", "f0")], [("f0", "f1"), ("f1", "f2"), ("f2", "f3")]])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_row_of_a_manifest_is_a_pair_whatever_else_names_its_files(
    pairs: list[tuple[str, str]], kind: str, tmp_path: Path
) -> None:
    known = {name: np.full((16, 16, 3), 40 * i + 7, np.uint8) for i, name in enumerate(("f0", "f1", "f2", "f3"))}
    for name, array in known.items():
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    listed = [(f"{a}.png", f"{b}.png") for a, b in pairs]
    if kind == "csv":
        (tmp_path / "pairs.csv").write_text("\n".join(map(",".join, [("a", "b"), *listed])), encoding="utf-8")
    else:
        pq.write_table(pa.table({"a": [a for a, _ in listed], "b": [b for _, b in listed]}), tmp_path / "pairs.parquet")
    data = module(Manifest(tmp_path / f"pairs.{kind}"), "paired", load_size=16, val_size=0, batch_size=1)
    seen = {}
    for batch in data.train_dataloader():
        a, b = (Path(batch[f"{domain}_path"][0]).stem for domain in "AB")
        for domain, name in (("A", a), ("B", b)):
            assert np.array_equal(batch[domain][0].permute(1, 2, 0).numpy(), known[name])
        seen[a] = b
    assert seen == dict(pairs)


def test_the_cache_of_datasets_beside_a_table_is_no_part_of_it(files: Files, tmp_path: Path) -> None:
    root = write_arrow(files, tmp_path)
    whole = (root / "train" / "data-00000-of-00001.arrow").read_bytes()
    (root / "train" / "cache-0123456789abcdef.arrow").write_bytes(whole)
    assert [path.name for path in table_files(root)["train"]] == ["data-00000-of-00001.arrow"]
    assert len(images(module(Table(root), "paired", val_size=0, batch_size=1).train_dataloader())) == SPLITS["train"]


def test_one_image_of_each_domain(files: Files, tmp_path: Path) -> None:
    """Hardly a crop of an epoch comes twice, and all are the same again after a resume."""
    for name, size in (("a.png", 40), ("b.png", 50)):
        noise = np.random.default_rng(size).integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
    source = SinglePair(tmp_path / "a.png", tmp_path / "b.png")
    settings: dict[str, Any] = {"preprocess": "crop", "repeat": 30, "val_size": 0}
    data = module(source, "unpaired", **settings)
    whole = images(data.train_dataloader())
    assert len(whole) == 15
    assert len({crop.numpy().tobytes() for batch in whole for crop in batch}) > 55  # of 60, at 25 x 25 places and more
    assert data.describe()["images"]["train"] == {"A": 1, "B": 1}
    assert [batch["A_path"] for batch in data.test_dataloader()] == [[str(tmp_path / "a.png")]]
    rest = module(source, "unpaired", workers=2, **settings)
    rest.begin_at(0, 10)
    assert same(images(rest.train_dataloader()), whole[5:])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.ckpt"
    write_checkpoint(path, "pix2pix", "data.load_size=32", "data.image_size=32")
    return path


@pytest.mark.parametrize("name", ["csv", "zip", "parquet"])
def test_translate_and_doctor_take_the_path_of_a_set(
    name: str, files: Files, checkpoint: Path, typed: Typed, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    root = SETS[name][0](files, tmp_path / "own")
    given = (f"ckpt={checkpoint}", "device=cpu", "precision=32-true")
    status, _, complaints = typed("translate", *given, f"input={root}", "output=out", "format=png")
    assert (status, complaints) == (0, "")
    write_folders(files, tmp_path / "folders")
    assert typed("translate", *given, "input=folders", "output=expected", "format=png")[0] == 0
    whole = name == "zip"  # an archive stands for all images in it, the others for those of domain A
    expected = [path for path in sorted(Path("expected").rglob("*.png")) if whole or "A" in path.parent.name]
    ours = sorted(Path("out").rglob("*.png"), key=lambda path: (path.parent.name, int(path.stem.removeprefix("row-"))))
    assert len(ours) == len(expected) == (20 if whole else 10)
    assert all(np.array_equal(Image.open(a), Image.open(b)) for a, b in zip(ours, expected, strict=True))

    status, _, complaints = typed("doctor", f"data={root}", "output=doctor", "workers=1")
    assert complaints == ""
    report = json.loads(Path("doctor/report.json").read_text(encoding="utf-8"))
    assert typed("doctor", "data=folders", "output=doctor2", "workers=1")[0] == status
    other = json.loads(Path("doctor2/report.json").read_text(encoding="utf-8"))
    assert report["data"] == str(root)
    assert {key: report[key] for key in ("pairing", "images", "files", "counts", "sizes")} == {
        key: other[key] for key in ("pairing", "images", "files", "counts", "sizes")
    }
