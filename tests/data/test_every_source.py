"""Every source of images gives what the same images in folders give: the same bits in the same order."""

from __future__ import annotations

import csv
import io
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

from patchlight.data import ImageDataModule
from patchlight.data.sources import Archive, Folders, Manifest, StoredSet, Table

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
    pq.write_table(pa.table({k: list(v) for k, v in zip(("a", "b", "split"), columns, strict=True)}), root / "pairs")
    return root / "pairs"


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
    # In workers, which are forked after this process has read; and later in the epoch, in another process's copy.
    assert same(images(module(source, pairing, workers=2, cache=0).train_dataloader()), whole)
    rest = module(pickle.loads(pickle.dumps(source)), pairing)
    rest.begin_at(0, 2)
    assert same(images(rest.train_dataloader()), whole[1:])
