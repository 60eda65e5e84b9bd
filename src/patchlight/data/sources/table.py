"""A set whose images lie encoded in columns of Parquet or Arrow files, as the library `datasets` writes them."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, ClassVar

from patchlight.data.decoding import COLOURS, Decoding
from patchlight.data.sources.arrow import Columns, TableFile, encoded_bytes, is_encoded, is_plain, module
from patchlight.data.sources.base import (
    SPLIT_NAMES,
    Condition,
    Found,
    ImageSource,
    MaskedSet,
    PairSource,
    Split,
    StoredSet,
)
from patchlight.data.sources.encoded import EncodedImages, require_usual_size
from patchlight.errors import DataError

SUFFIXES = (".parquet", ".arrow")

HIDDEN = (".", "cache-")
"""How names begin of files that hold no images of a set: `datasets` writes `cache-HASH.arrow` beside its data."""

NAMED_SPLIT = re.compile(r"([a-z]+)(?:[-_.]\d.*)?", re.ASCII)
"""The name of a file of a split without its ending: `train`, `train-00000-of-00002`, `validation_0`."""


class TableImages(EncodedImages):
    """The images of one column, row by row through several files."""

    in_order: ClassVar[bool] = True

    def __init__(
        self, files: Sequence[TableFile], column: str, columns: Columns, belonging: Mapping[str, Sequence[Condition]],
        decoding: Decoding = COLOURS,
    ) -> None:  # fmt: skip
        self.files = tuple(files)
        self.decoding = decoding
        self.column, self.columns, self.belonging = column, columns, belonging
        self.starts = [0]
        for file in self.files:
            self.starts.append(self.starts[-1] + len(file))

    def __len__(self) -> int:
        return self.starts[-1]

    def _place(self, index: int) -> tuple[TableFile, int]:
        number = bisect_right(self.starts, index) - 1
        return self.files[number], index - self.starts[number]

    def key(self, index: int) -> str:
        file, row = self._place(index)
        return f"{file.path}/{self.column}/{row}"

    def _buffer(self, index: int) -> Any:
        file, row = self._place(index)
        buffer = encoded_bytes(self.columns.value(file, self.column, row))
        if buffer is None:
            raise DataError(
                f"{self.key(index)} holds no bytes of an image: write the images into the file, not their paths"
            )
        require_usual_size(self.key(index), buffer.size)
        return buffer

    def content(self, index: int) -> bytes:
        content: bytes = self._buffer(index).to_pybytes()
        return content

    def open(self, index: int) -> AbstractContextManager[IO[bytes]]:
        stream: AbstractContextManager[IO[bytes]] = module("pyarrow").BufferReader(self._buffer(index))
        return stream

    def fingerprint(self, index: int) -> str:
        file, row = self._place(index)
        return f"{file.path.name} {file.path.stat().st_size} {self.column} {row}"

    def conditions(self, index: int) -> Mapping[str, Condition]:
        return {name: values[index] for name, values in self.belonging.items()}


class Table(StoredSet, MaskedSet):
    """The set of Parquet or Arrow files with encoded images in two columns, of which each row is a pair.

    `root` is one file, all of which is for training, or a folder of files that are named after their split
    (`train-00000-of-00002.parquet`, also below `data/`) or lie in a folder of that name (`train/`, `validation/`,
    `test/`). The columns, `a` and `b` or the first two of images unless they are given, hold bytes, or `bytes` and
    `path`. `column_mask` has masks of valid pixels in the same way, where they are asked for. `conditions` are further
    columns, of texts or numbers.
    """

    def __init__(
        self,
        root: str | Path,
        column_a: str | None = None,
        column_b: str | None = None,
        conditions: Sequence[str] = (),
        column_mask: str = "mask",
    ) -> None:
        super().__init__(root)
        self.column_a, self.column_b, self.conditions = column_a, column_b, tuple(conditions)
        self.column_mask = column_mask
        self.columns = Columns()

    def __call__(self, *, split: Split) -> Found:
        """The images of a split by the names of its files and their rows.

        Raises:
            DataError: a file is damaged, or lacks a column.
        """
        files = [self._file(path) for path in table_files(self.root).get(split, [])]
        belonging = {name: self._values(files, name) for name in self.conditions}
        names = self._names(files[0]) if files else ("", "")
        a, b = (
            TableImages(files, column, self.columns, belonging, decoding)
            for column, decoding in zip(names, self.decodings, strict=True)
        )
        return a, b

    def masks(self, split: Split, images: ImageSource | PairSource) -> TableImages:
        assert isinstance(images, TableImages)
        for file in images.files:
            self._require_images(file, "column_mask", self.column_mask)
        return TableImages(images.files, self.column_mask, self.columns, {})

    def require_training_images(self) -> None:
        if not os.path.exists(self.root):
            raise DataError(f"data.root={self.root} is not there: give a Parquet or Arrow file, or a folder of them")
        if "train" not in table_files(self.root):
            raise DataError(
                f"data.root={self.root} has no training images: it should hold {' or '.join(SUFFIXES)} files that are "
                f"named train-*, or lie in a folder train"
            )

    def _names(self, file: TableFile) -> tuple[str, str]:
        """The columns of domains A and B."""
        there = [field.name for field in file.schema if is_encoded(field.type)]
        usual = ["a", "b"] if {"a", "b"} <= set(there) else [*there, "b", "a"][:2]
        return self.column_a or usual[0], self.column_b or usual[1]

    def _file(self, path: Path) -> TableFile:
        file = TableFile(path)
        names = list(file.schema.names)
        for key, name in zip(("column_a", "column_b"), self._names(file), strict=True):
            self._require_images(file, key, name)
        for name in self.conditions:
            if names.count(name) != 1 or not is_plain(file.schema.field(name).type):
                raise DataError(f"{path} has no column {name} of texts or numbers, as data.source.conditions asks for")
        return file

    def _require_images(self, file: TableFile, key: str, name: str) -> None:
        if list(file.schema.names).count(name) != 1 or not is_encoded(file.schema.field(name).type):
            good = [field.name for field in file.schema if is_encoded(field.type)]
            raise DataError(
                f"{file.path} has no column {name} of encoded images: data.source.{key} should be one of "
                f"{', '.join(good) or 'another file, as this one has none'}"
            )

    def _values(self, files: Sequence[TableFile], name: str) -> list[Condition]:
        found = [self.columns.value(file, name, row).as_py() for file in files for row in range(len(file))]
        if None in found:
            raise DataError(
                f"{self.root}: row {found.index(None) + 1} has no {name}, as data.source.conditions asks for"
            )
        return found


def table_files(root: Path) -> dict[Split, list[Path]]:
    """The Parquet and Arrow files of each split, in the order of their names."""
    if not os.path.isdir(root):
        return {"train": [root]}
    found: dict[Split, list[Path]] = {}
    for path in _below(root):
        split = _split_of(path, root)
        if split is not None:
            found.setdefault(split, []).append(path)
    return found


def _below(root: Path) -> Iterator[Path]:
    """Files in the root, in its folder `data`, and in folders named after splits."""
    for folder in (root, root / "data", *(root / name for name in SPLIT_NAMES)):
        if os.path.isdir(folder):
            names = sorted(os.listdir(folder))
            yield from (folder / name for name in names if name.endswith(SUFFIXES) and not name.startswith(HIDDEN))


def _split_of(path: Path, root: Path) -> Split | None:
    """The split of a file, by its folder or its name; `data-00000-of-00001` alone is training."""
    if path.parent != root and path.parent.name in SPLIT_NAMES:
        return SPLIT_NAMES[path.parent.name]
    named = NAMED_SPLIT.fullmatch(path.stem)
    if named is None:
        return None
    return "train" if named[1] == "data" else SPLIT_NAMES.get(named[1])
