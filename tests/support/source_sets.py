"""The same pairs of images in every kind of source."""

from __future__ import annotations

import csv
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from patchlight.data.sources import Archive, Folders, Manifest, Shards, Split, StoredSet, Table, find_domains
from patchlight.data.sources.shards.encoding import ANY
from patchlight.data.sources.shards.writing import ShardWriter

SPLITS = {"train": 7, "test": 3}

Files = dict[str, bytes]


def encoded_pairs() -> Files:
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
    of_b = {Path(name).with_suffix(""): name for name in files if "B/" in name}
    return [
        (name, of_b[Path(name.replace("A/", "B/")).with_suffix("")], name.partition("A/")[0])
        for name in files if "A/" in name
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
    for split in dict.fromkeys(split for _, _, split in rows(files)):
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


def write_shards(files: Files, root: Path) -> Path:
    stored = Folders(write_folders(files, root / "files")).decoded_as(ANY, ANY)
    (root / "shards").mkdir()
    writer = ShardWriter(root / "shards", shard_bytes=1000)
    writer.write({split: find_domains(stored, split, "paired") for split in get_args(Split)}, True, lambda: None)
    return root / "shards"


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


DEEP_SETS = SETS | {"shards": (write_shards, lambda root, pairing: Shards(root, pairing))}
