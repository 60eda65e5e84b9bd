"""An image source: pairs that a CSV file names, in columns a, b and split, by paths that begin at its folder."""

from __future__ import annotations

import csv
from pathlib import Path

from PIL import Image

from patchlight.data import Header, ImageSource
from patchlight.data.sources import open_picture, read_header


class Column(ImageSource):
    """The images of one column."""

    in_order = True

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.names = folder, names

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Image.Image:
        return open_picture(self.folder / self.names[index])

    def header(self, index: int) -> Header:
        return read_header(self.folder / self.names[index])

    def key(self, index: int) -> str:
        return self.names[index]


def csv_pairs(table: str, *, split: str) -> tuple[Column, Column]:
    """Domains A and B of a split, train, val or test; a row is a pair."""
    with Path(table).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    a, b = (Column(Path(table).parent, [row[domain] for row in rows]) for domain in ("a", "b"))
    return a, b
