"""Inputs that are no files of their own: images within an archive or a table, and files that a manifest lists."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from patchlight.data.arrays import ZIP, is_array
from patchlight.data.decoding import COLOURS, Decoding
from patchlight.data.sources import ImageSource, Shards, Split, kind_of, stored_set
from patchlight.data.sources.archive import Archive, ArchivedImages
from patchlight.data.sources.encoded import EncodedImages
from patchlight.data.sources.manifest import ListedFiles, Manifest
from patchlight.errors import DataError


@dataclass(frozen=True)
class Packed:
    """An image within another file."""

    images: EncodedImages
    index: int

    def pixels(self) -> int:
        """Pixels that the image says it has; 0 where that cannot be read, which is told when it is."""
        try:
            header = self.images.header(self.index)
        except DataError:
            return 0
        return header.width * header.height

    @contextmanager
    def as_file(self, name: str) -> Iterator[Path]:
        """A temporary file of that name; one of NumPy ends as such, by which it is known."""
        with tempfile.TemporaryDirectory(prefix="patchlight-") as folder:
            path, content = Path(folder) / name, self.images.content(self.index)
            if is_array(content) and not is_array(path):
                path = path.with_suffix(".npz" if content.startswith(ZIP) else ".npy")
            path.write_bytes(content)
            yield path


Found = list[tuple[Path, Packed | None]]
"""Images by the paths after which results are named, and where they are unless these are files."""


def find_packed(path: Path, domain: Literal["A", "B"], decoding: Decoding = COLOURS) -> tuple[Path, Found] | None:
    """All images of an archive, or those of a domain that a manifest lists or a table holds, of all splits.

    `decoding` says which files are images. Returns the path below which they lie, and the images; None for what is no
    such set.

    Raises:
        DataError: the set cannot be read, or holds none.
    """
    if kind_of(path) in (None, "folders"):
        return None
    source = stored_set(path).decoded_as(decoding, decoding)
    found: Found = []
    root = path
    if isinstance(source, Archive):
        archived = ArchivedImages(source.members, sorted(filter(decoding.takes, source.members.sizes)), decoding)
        found = [(file, Packed(archived, i)) for i, file in enumerate(archived.paths)]
    else:
        for split in get_args(Split):
            images = source.as_files(split) if isinstance(source, Shards) else source(split=split)
            assert isinstance(images, tuple)  # a row has two images in columns of their own
            found += _of_rows(images["AB".index(domain)], path / split)
        root = source.folder if isinstance(source, Manifest) else path
    if not found:
        raise DataError(f"input={path} has no images of domain {domain}")
    return root, found


def _of_rows(images: ImageSource, below: Path) -> Found:
    if isinstance(images, ListedFiles):
        return [(path, None) for path in images.paths]
    assert isinstance(images, EncodedImages)
    return [(below / f"row-{i + 1}.png", Packed(images, i)) for i in range(len(images))]
