"""Sets of image files in folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from patchlight.data.image_files import Header, Picture, open_picture
from patchlight.data.labels import numbers
from patchlight.data.sources.base import (
    Direction,
    Found,
    ImageSource,
    MaskedSet,
    Pairing,
    PairSource,
    Split,
    StoredSet,
)
from patchlight.data.sources.encoded import EncodedImages, EncodedSideBySide, NamedFiles
from patchlight.data.sources.layouts import (
    DISK,
    Disk,
    Layout,
    domain_folders,
    find_split,
    match,
    match_masks,
    require_layout,
)
from patchlight.errors import DataError

THREADS = 8
"""They wait for the disk more than they compute; on a network file system that is what takes the time."""


class DiskFiles(NamedFiles):
    """Image files on a disk."""

    header_threads = THREADS

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def content(self, index: int) -> bytes:
        return self.paths[index].read_bytes()

    def picture(self, index: int) -> Picture:
        return self.decoding.read(self.paths[index])

    def picture_header(self, index: int, thorough: bool) -> Header:
        return self.decoding.header(self.paths[index], thorough)


class Files(DiskFiles, EncodedImages):
    """Image files of one domain."""


class SideBySide(DiskFiles, EncodedSideBySide):
    """Image files that hold A on the left and B on the right."""


class LabelFiles(Files):
    """Image files of class indices, each with another one of the numbers of instances: arrays H W 2."""

    def __init__(self, paths: Sequence[Path], instances: Sequence[Path]) -> None:
        super().__init__(paths)
        self.instances = Files(instances)

    def read(self, index: int) -> Picture:
        return _with_instances(open_picture(self.paths[index]), self.instances.paths[index])

    def encoded(self, index: int) -> None:
        return None

    def header(self, index: int) -> Header:
        found = super().header(index)
        return replace(found, channels=found.channels + 1)

    def exact_header(self, index: int) -> Header:
        found = super().exact_header(index)
        return replace(found, channels=found.channels + 1)

    def fingerprint(self, index: int) -> str:
        return f"{super().fingerprint(index)} {self.instances.fingerprint(index)}"


def _with_instances(labels: Picture, path: Path) -> Picture:
    """A label map with the numbers of instances from a file, H W 2.

    Raises:
        ValueError: one of them is no image of whole numbers, or they differ in size.
        DataError: the file cannot be read.
    """
    classes = numbers(labels)
    try:
        instances = numbers(open_picture(path))
        if instances.shape != classes.shape:
            sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (instances, classes)]
            raise ValueError(f"it is {sizes[0]} pixels, its label map {sizes[1]}")
    except ValueError as error:
        raise ValueError(f"{path} does not suit it: {error}") from None
    return np.concatenate([classes, instances], axis=2)


class Folders(StoredSet, MaskedSet):
    """The set below a folder: `root/{train,val,test}` side by side, or `root/{train,val,test}{A,B}`.

    With `instances` the domain with which `direction` begins is label maps, whose instances lie in
    `root/{split}_instances` under the same names.
    """

    def __init__(
        self,
        root: str | Path,
        pairing: Pairing = "paired",
        layout: Layout = "auto",
        instances: bool = False,
        direction: Direction = "AtoB",
    ) -> None:
        super().__init__(root)
        self.pairing, self.layout = pairing, layout
        self.instances_of: Literal["a", "b"] | None = None
        if instances:
            self.instances_of = "a" if direction == "AtoB" else "b"

    def __call__(self, *, split: Split) -> Found:
        """The images of a split in a deterministic order; empty where the set has no such split.

        Raises:
            DataError: the folder of a split is empty, one of its two is missing, an image has no partner, or the layout
                is not clear.
        """
        of_a, of_b = self.decodings
        found = find_split(self.root, split, self.layout, self.pairing, Disk(of_a), Disk(of_b))
        if isinstance(found, list):
            if self.instances_of is not None:
                raise DataError(
                    f"data.instances=true needs label maps in a folder of their own: {self.root / split} holds "
                    f"pairs side by side"
                )
            return SideBySide(found, of_a.of_halves(of_b))
        a, b = found or ((), ())
        return self._files("a", a, split), self._files("b", b, split)

    def _files(self, domain: Literal["a", "b"], paths: Sequence[Path], split: Split) -> Files:
        if domain != self.instances_of or not paths:
            return Files(paths, self.decodings["ab".index(domain)])
        folder = domain_folders(self.root, split)["ab".index(domain)]
        beside = self.root / f"{split}_instances"
        if not os.path.isdir(beside):
            raise DataError(f"{beside} is not there: data.instances=true looks for the instances of {folder} in it")
        return LabelFiles(*match(folder, list(paths), beside, DISK.images(beside)))

    def masks(self, split: Split, images: ImageSource | PairSource) -> Files:
        assert isinstance(images, DiskFiles)
        return Files(match_masks(self.root, split, images.paths, isinstance(images, SideBySide)))

    def require_training_images(self) -> None:
        root = self.root
        if not os.path.isdir(root):
            raise DataError(f"data.root={root} is not a folder: give the folder of the image set, or download one")
        if not os.access(root, os.R_OK | os.X_OK):
            raise DataError(f"data.root={root} is not readable: change its permissions")
        require_layout(root, self.layout, self.pairing)
