"""Which kind of source lies at a path, for commands that are only given the path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from patchlight.data.sources.archive import Archive
from patchlight.data.sources.arrow import is_encoded, open_parquet
from patchlight.data.sources.base import Pairing
from patchlight.data.sources.folders import Folders
from patchlight.data.sources.layouts import Layout, domain_folders
from patchlight.data.sources.manifest import Manifest
from patchlight.data.sources.shards import Shards
from patchlight.data.sources.shards.index import INDEX
from patchlight.data.sources.table import Table, table_files

Kind = Literal["folders", "manifest", "table", "archive", "shards"]
"""Choices of `data/source` for sets that lie in one place."""

PARQUET = ".parquet"

KINDS: Mapping[str, Kind] = {
    ".csv": "manifest", ".arrow": "table", PARQUET: "table",
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz"), "archive"),
}  # fmt: skip
"""By the ending of a name; Parquet files may be manifests, too."""


def kind_of(path: Path) -> Kind | None:
    """The kind of set at a path; None for files that are none, such as images.

    A folder is one of images unless it holds tables alone.

    Raises:
        DataError: a Parquet file that is damaged, or PyArrow is not installed.
    """
    if os.path.isdir(path):
        if os.path.isfile(path / INDEX):
            return "shards"
        images = any(map(os.path.isdir, (path / "trainA", *domain_folders(path, "train"))))
        return "table" if not images and table_files(path) else "folders"
    if not os.path.isfile(path):
        return None
    kind = KINDS.get(path.suffix.lower())
    if path.suffix.lower() == PARQUET:
        with open_parquet(path) as file:
            return "table" if any(is_encoded(field.type) for field in file.schema_arrow) else "manifest"
    return kind


def stored_set(
    path: Path, pairing: Pairing = "unpaired", layout: Layout = "auto"
) -> Archive | Folders | Manifest | Shards | Table:  # fmt: skip
    """The set at a path, with the names that columns usually have.

    Raises:
        DataError: as `kind_of`.
    """
    match kind_of(path):
        case "manifest":
            return Manifest(path, pairing)
        case "table":
            return Table(path)
        case "archive":
            return Archive(path, pairing, layout)
        case "shards":
            return Shards(path, pairing)
    return Folders(path, pairing, layout)
