"""Sets of which both domains are parts of the same pictures, as in colorization."""

from __future__ import annotations

import os
from pathlib import Path

from patchlight.data.image_files import Header, Picture
from patchlight.data.sources.base import FileSet, Found, PairSource, Split, StoredSet
from patchlight.data.sources.folders import THREADS, Files
from patchlight.data.sources.layouts import DISK, domain_folders
from patchlight.errors import DataError


class Twice(PairSource):
    """The pictures of files, each as A and as B."""

    header_threads = THREADS

    def __init__(self, source: Files) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> tuple[Picture, Picture]:
        picture = self.source.read(index)
        return picture, picture

    def header(self, index: int) -> tuple[Header, Header]:
        header = self.source.header(index)
        return header, header

    def exact_header(self, index: int) -> tuple[Header, Header]:
        header = self.source.exact_header(index)
        return header, header

    def key(self, index: int) -> str:
        return self.source.key(index)

    def fingerprint(self, index: int) -> str:
        return self.source.fingerprint(index)


class Pictures(StoredSet, FileSet):
    """The pictures below a folder: `root/{train,val,test}`, or those of `root/{train,val,test}{A,B}` together."""

    def __call__(self, *, split: Split) -> Found:
        """The pictures of a split in a deterministic order; empty where the set has no such split.

        Raises:
            DataError: a folder of the split is empty or is not readable.
        """
        paths = [path for folder in self._folders(split) for path in DISK.images(folder)]
        return Twice(Files(paths, self.decodings[0]))

    def require_training_images(self) -> None:
        """Raise a DataError unless the root is a folder with a training split."""
        if not os.path.isdir(self.root):
            raise DataError(f"data.root={self.root} is not a folder: give the folder of the image set, or download one")
        if not self._folders("train"):
            raise DataError(f"data.root={self.root} has no training images: it should hold {self.root / 'train'}")

    def _folders(self, split: Split) -> list[Path]:
        return [folder for folder in (self.root / split, *domain_folders(self.root, split)) if os.path.isdir(folder)]
