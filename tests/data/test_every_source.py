"""Every source of images gives what the same images in folders give: the same bits in the same order."""

from __future__ import annotations

import csv
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from commands import Typed
from patchlight.data import ImageDataModule
from patchlight.data.sources import Archive, Folders, Manifest, SinglePair, StoredSet, Table
from patchlight.data.sources.table import table_files
from small_models import write_checkpoint

SPLITS = {"train": 7, "test": 3}

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def files() -> Files:
    """Pairs of the same name in folders, by their paths: PNG and JPEG, of two sizes, one with an EXIF orientation."""
    rng = np.random.default_rng(0)
    found = {}
    for split, count in SPLITS.items():
        for i in range(count):
            for domain in "AB":
                image = Image.fromarray(rng.integers(0, 256, (24 + 4 * (i % 2), 28, 3), dtype=np.uint8))
                exif = Image.Exif()
                if i == 3:
                    exif[0x0112] = 6
                stream = io.BytesIO()
                image.save(stream, "JPEG" if i % 3 == 0 else "PNG", exif=exif)
                found[f"{split}{domain}/{i:02d}.{'jpg' if i % 3 == 0 else 'png'}"] = stream.getvalue()
    return found


def rows(files: Files) -> list[tuple[str, str, str]]:
    """The names of pairs, with their splits."""
    return [
        (name, name.replace("A/", "B/"), name.partition("A/")[0]) for name in files if "A/" in name
    ]  # fmt: skip


def write_folders(files: Files, root: Path) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_csv(files: Files, root: Path) -> Path:
    write_folders(files, root)
    with (root / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("a", "b", "split", "class_id"), *((*r, i) for i, r in enumerate(rows(files)))])
    return root / "pairs.csv"


def write_manifest_parquet(files: Files, root: Path) -> Path:
    write_folders(files, root)
    columns = zip(*rows(files), strict=True)
    table = pa.table({name: list(cells) for name, cells in zip(("a", "b", "split"), columns, strict=True)})
    pq.write_table(table, root / "pairs.parquet")
    return root / "pairs.parquet"


def write_zip(files: Files, root: Path) -> Path:
    with zipfile.ZipFile(root / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"facades/{name}", content)
        archive.writestr("__MACOSX/facades/._x.png", b"")
    return root / "set.zip"


def write_tar(files: Files, root: Path) -> Path:
    with tarfile.open(root / "set.tar", "w") as archive:
        for name, content in reversed(files.items()):
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return root / "set.tar"


def tables(files: Files, struct: bool) -> dict[str, pa.Table]:
    """The pairs of each split as the library `datasets` has them, or as plain bytes."""
    found = {}
    for split in SPLITS:
        own = [row for row in rows(files) if row[2] == split]
        cells = [[{"bytes": files[row[i]], "path": row[i]} if struct else files[row[i]] for row in own] for i in (0, 1)]
        found[split] = pa.table({"a": cells[0], "b": cells[1], "label": list(range(len(own)))})
    return found


def write_parquet(files: Files, root: Path) -> Path:
    (root / "data").mkdir()
    for split, table in tables(files, struct=True).items():
        for i, part in enumerate((table.slice(0, 2), table.slice(2))):
            pq.write_table(part, root / "data" / f"{split}-{i:05d}-of-00002.parquet", row_group_size=2)
    return root


def write_arrow(files: Files, root: Path) -> Path:
    for split, table in tables(files, struct=False).items():
        (root / split).mkdir()
        with pa.ipc.new_stream(str(root / split / "data-00000-of-00001.arrow"), table.schema) as stream:
            stream.write_table(table, max_chunksize=2)
    return root


Writer = Callable[[Files, Path], Path]

SETS: dict[str, tuple[Writer, Callable[[Path, Any], StoredSet]]] = {
    "folders": (write_folders, lambda root, pairing: Folders(root, pairing)),
    "csv": (write_csv, lambda root, pairing: Manifest(root, pairing)),
    "parquet of paths": (write_manifest_parquet, lambda root, pairing: Manifest(root, pairing)),
    "zip": (write_zip, lambda root, pairing: Archive(root, pairing)),
    "tar": (write_tar, lambda root, pairing: Archive(root, pairing)),
    "parquet": (write_parquet, lambda root, pairing: Table(root)),
    "arrow": (write_arrow, lambda root, pairing: Table(root)),
}


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
