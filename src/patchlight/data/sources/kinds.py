"""Which kind of source lies at a path, by its content, for commands that are only given the path."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

from patchlight.data.sources.archive import Archive
from patchlight.data.sources.arrow import is_encoded, is_parquet, open_parquet
from patchlight.data.sources.base import Pairing, StoredSet
from patchlight.data.sources.folders import Folders
from patchlight.data.sources.layouts import Layout, domain_folders
from patchlight.data.sources.manifest import Manifest
from patchlight.data.sources.table import SUFFIXES, Table, table_files

Kind = Literal["folders", "manifest", "table", "archive"]
"""Choices of `data/source` for sets that lie in one place."""


def kind_of(path: Path) -> Kind | None:
    """The kind of set at a path; None for files that are none, as images. A folder is one of images unless it holds
    tables alone.

    Raises:
        DataError: a Parquet file that is damaged, or PyArrow is not installed.
    """
    if os.path.isdir(path):
        images = any(map(os.path.isdir, (path / "trainA", *domain_folders(path, "train"))))
        return "table" if not images and table_files(path) else "folders"
    if not os.path.isfile(path):
        return None
    if zipfile.is_zipfile(path) or _is_tar(path):
        return "archive"
    if is_parquet(path):
        with open_parquet(path) as file:
            return "table" if any(is_encoded(field.type) for field in file.schema_arrow) else "manifest"
    return {".csv": "manifest", **dict.fromkeys(SUFFIXES, "table")}.get(path.suffix.lower())  # type: ignore[return-value]


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except OSError:
        return False


def stored_set(path: Path, pairing: Pairing = "unpaired", layout: Layout = "auto") -> StoredSet:
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
    return Folders(path, pairing, layout)
