"""Sets that are no folders, as folders: the doctor looks at files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from patchlight.data.arrays import ARRAY_SUFFIXES, ZIP, is_array
from patchlight.data.decoding import COLOURS, Decoding
from patchlight.data.image_files import IMAGE_SUFFIXES
from patchlight.data.sources import ImageSource, Shards, Split, kind_of, stored_set
from patchlight.data.sources.archive import Archive, ArchiveTree
from patchlight.data.sources.encoded import EncodedImages
from patchlight.data.sources.manifest import ListedFiles
from patchlight.errors import ConfigError, DataError
from patchlight.system.archives import DAMAGE, Allowance

DAMAGED = b"damaged within the archive"
"""Stands for an image that cannot be read there, to be found by the check of its file."""


@contextmanager
def as_folders(root: Path, decoding: Decoding = COLOURS) -> Iterator[Path]:
    """The folder of a set: itself, or a temporary one with the images of an archive, or of the rows of a table.

    `decoding` says which files of an archive are images.
    Images of an archive have their names in it. Images of rows are called `trainA/row-1.png` and so on.

    Raises:
        DataError: the set cannot be read.
        ConfigError: there is no room for a copy.
    """
    if kind_of(root) in (None, "folders"):
        yield root
        return
    with tempfile.TemporaryDirectory(prefix="patchlight-") as place:
        folder = Path(place) / root.name
        try:
            folder.mkdir()
            _write(root, folder, decoding)
        except OSError as error:
            raise ConfigError(
                f"data={root} could not be copied to {place} ({error.strerror}); the variable TMPDIR names another "
                f"folder for temporary files"
            ) from None
        yield folder


def _write(root: Path, folder: Path, decoding: Decoding) -> None:
    source = stored_set(root).decoded_as(decoding, decoding)
    if isinstance(source, Archive):
        _unpack(source, folder, decoding)
        return
    for split in get_args(Split):
        found = source.as_files(split) if isinstance(source, Shards) else source(split=split)
        assert isinstance(found, tuple)  # a row has two images in columns of their own
        for domain, images in zip("AB", found, strict=True):
            if len(images):
                (folder / f"{split}{domain}").mkdir()
            _write_rows(images, folder / f"{split}{domain}")


def _unpack(source: Archive, folder: Path, decoding: Decoding) -> None:
    tree, allowance = ArchiveTree(source.root, source.members, decoding), Allowance(source.root)
    for path in tree.paths:
        allowance.spend(source.members.sizes[path])
        target = folder / path.relative_to(tree.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with source.members.open(path) as stream:
                content = stream.read()
        except DAMAGE:
            content = DAMAGED
        target.write_bytes(content)


def _write_rows(images: ImageSource, folder: Path) -> None:
    """The images of a table, or links to them."""
    for i in range(len(images)):
        if isinstance(images, ListedFiles):
            path = images.paths[i].absolute()
            suffix = path.suffix.lower()
            name = f"row-{images.rows[i] + 1}{suffix if suffix in IMAGE_SUFFIXES | ARRAY_SUFFIXES else '.png'}"
            (folder / name).symlink_to(path)
            continue
        assert isinstance(images, EncodedImages)
        try:
            content = images.content(i)
        except DataError:  # it has no bytes
            content = b""
        suffix = (".npz" if content.startswith(ZIP) else ".npy") if is_array(content) else ".png"
        (folder / f"row-{i + 1}{suffix}").write_bytes(content)
