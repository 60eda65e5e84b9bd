"""A set that a table of paths describes: CSV or Parquet with columns a, b, split, and what belongs to the images."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, ClassVar, get_args

from patchlight.data.decoding import COLOURS, Decoding
from patchlight.data.sources.arrow import is_parquet, is_plain, open_parquet, read_plain_columns
from patchlight.data.sources.base import (
    SPLIT_NAMES,
    Condition,
    Found,
    ImageSource,
    MaskedSet,
    Pairing,
    PairSource,
    Split,
    StoredSet,
)
from patchlight.data.sources.folders import Files
from patchlight.errors import DataError

OWN = ("a", "b", "split")
"""Columns that are no conditions."""

MASK_COLUMN = "mask"
"""The column of masks of valid pixels, where they are asked for."""

RESERVED = ("A", "B", "A_path", "B_path")
"""Keys of a batch that no column may have."""

MAX_BYTES = 1 << 30
"""Of a manifest, all of which is kept in memory: some millions of rows."""

WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
"""Whole numbers of at most 64 bits."""

Columns = dict[str, Sequence[Any]]


class ListedFiles(Files):
    """Image files with the rows that name them, from 0 on, and what else is in those rows, by the column's name."""

    def __init__(
        self, paths: Sequence[Path], rows: Sequence[int], belonging: Mapping[str, Sequence[Condition]],
        decoding: Decoding = COLOURS,
    ) -> None:  # fmt: skip
        super().__init__(paths, decoding)
        self.rows, self.belonging = tuple(rows), belonging

    def conditions(self, index: int) -> Mapping[str, Condition]:
        return {name: values[self.rows[index]] for name, values in self.belonging.items()}


class PairedFiles(ListedFiles):
    """The files of one column of a paired manifest; a file may be A of one row and B of another."""

    in_order: ClassVar[bool] = True


class Manifest(StoredSet, MaskedSet):
    """The set of a CSV or Parquet file whose rows name images.

    Columns `a` and `b` hold paths relative to the folder of the file, or to `folder`; a row with both is a pair, and in
    an unpaired set either may be empty. `split` is train, val or test; without that column all rows are train. Further
    columns are conditions that belong to both images of a row: whole numbers (class ids), numbers or texts. A column
    `mask` has the paths of masks, where they are asked for.
    """

    def __init__(self, root: str | Path, pairing: Pairing = "paired", folder: str | Path | None = None) -> None:
        super().__init__(root)
        self.pairing = pairing
        self.folder = self.root.parent if folder is None else Path(folder).expanduser()
        self._columns: Columns | None = None

    def __call__(self, *, split: Split) -> Found:
        """The images that rows of this split name, in their order.

        Raises:
            DataError: the file cannot be read, lacks a column, or has a cell that cannot be used, which is named.
        """
        columns = self.columns
        rows = [row for row, name in enumerate(columns["split"]) if self._split_of(row, name) == split]
        belonging = {name: values for name, values in columns.items() if name not in OWN}
        a, b = (
            self._files(domain, columns[domain], rows, belonging, decoding)
            for domain, decoding in zip(("a", "b"), self.decodings, strict=True)
        )
        return a, b

    @property
    def columns(self) -> Columns:
        """What the file holds, which is read once."""
        if self._columns is None:
            self._columns = _read(self.root)
        return self._columns

    def masks(self, split: Split, images: ImageSource | PairSource) -> Files:
        assert isinstance(images, ListedFiles)
        cells = self.columns.get(MASK_COLUMN)
        if cells is None:
            raise DataError(f"{self.root} has no column {MASK_COLUMN}, in which data.mask=true looks for masks: add it")
        return Files([self._path(MASK_COLUMN, row, cells[row]) for row in images.rows])

    def require_training_images(self) -> None:
        if not os.path.isfile(self.root):
            raise DataError(f"data.root={self.root} is no file: give the CSV or Parquet file that lists the images")

    def _files(
        self, domain: str, cells: Sequence[Any], rows: Sequence[int], belonging: Mapping[str, Sequence[Condition]],
        decoding: Decoding,
    ) -> ListedFiles:  # fmt: skip
        known: dict[str, int] = {}
        paths, kept = [], []
        for row in rows:
            cell = cells[row]
            if cell in (None, ""):
                if self.pairing == "paired":
                    raise DataError(f"{self.root}: row {row + 1} has no {domain}: a row of paired data names both")
                continue
            path = self._path(domain, row, cell)
            first = known.setdefault(os.path.normpath(path), row)
            if first != row:
                raise DataError(
                    f"{self.root}: rows {first + 1} and {row + 1} name the same image in column {domain}: {cell}"
                )
            paths.append(path)
            kept.append(row)
        return (PairedFiles if self.pairing == "paired" else ListedFiles)(paths, kept, belonging, decoding)

    def _path(self, domain: str, row: int, cell: Any) -> Path:
        """Where a cell leads, which is within the folder."""
        where = f"{self.root}: row {row + 1} has {domain}={cell!r}"
        if not isinstance(cell, str):
            raise DataError(f"{where}, which is no path")
        path, windows = PurePosixPath(cell), PureWindowsPath(cell)
        if path.is_absolute() or windows.anchor or ".." in windows.parts or "\0" in cell:
            raise DataError(
                f"{where}, which leads out of {self.folder}: give paths below it, or another folder by "
                f"data.source.folder=DIR"
            )
        return self.folder / path

    def _split_of(self, row: int, name: Any) -> Split:
        if name not in SPLIT_NAMES:
            raise DataError(
                f"{self.root}: row {row + 1} has split={name!r}; it should be one of {', '.join(get_args(Split))}"
            )
        return SPLIT_NAMES[name]


def _read(path: Path) -> Columns:
    """The columns of a manifest by name, all of one length."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path} has {size} bytes, more than the {MAX_BYTES} of a manifest: split it")
        columns = _read_parquet(path) if is_parquet(path) else _read_csv(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): give a CSV or Parquet file") from None
    for name in ("a", "b"):
        if name not in columns:
            there = ", ".join(columns) or "none"
            raise DataError(f"{path} has no column {name}, which names images (its columns: {there}): add it")
    for name in columns:
        if name in RESERVED or not name.isidentifier():
            raise DataError(f"{path} has a column {name!r}, which cannot be the key of a batch: rename it")
        if name not in OWN:
            _require_filled(path, name, columns[name])
    columns.setdefault("split", ["train"] * len(columns["a"]))
    return columns


def _read_csv(path: Path) -> Columns:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            names = next(reader, [])
            rows = [row for row in reader if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no CSV file in UTF-8 ({error}): write it anew") from None
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path} has the column {twice} twice: rename or remove one")
    for i, row in enumerate(rows):
        if len(row) != len(names):
            raise DataError(f"{path}: row {i + 1} has {len(row)} cells where the first line has {len(names)} names")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return {name: cells if name in OWN else _parsed(cells) for name, cells in columns.items()}


def _require_filled(path: Path, name: str, cells: Sequence[Any]) -> None:
    for row, cell in enumerate(cells):
        if cell in (None, "") or (isinstance(cell, float) and not math.isfinite(cell)):
            raise DataError(f"{path}: row {row + 1} has {name}={cell!r}: fill it in, or remove the column")


def _read_parquet(path: Path) -> Columns:
    with open_parquet(path) as file:
        schema = file.schema_arrow
        for field in schema:
            if schema.names.count(field.name) > 1:
                raise DataError(f"{path} has the column {field.name} twice: rename or remove one")
            if not is_plain(field.type):
                raise DataError(
                    f"{path}: column {field.name} is {field.type}; a manifest holds texts and numbers "
                    f"(images within columns: data/source=table)"
                )
        names = list(schema.names)
    return {**read_plain_columns(path, names, MAX_BYTES)}


def _parsed(texts: Sequence[str]) -> Sequence[Condition]:
    """A column of a CSV file as whole numbers or, unless all are, as numbers or, unless all are, as texts."""
    if all(WHOLE.fullmatch(text) for text in texts):
        return [int(text) for text in texts]
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return texts
    return numbers if all(map(math.isfinite, numbers)) else texts
