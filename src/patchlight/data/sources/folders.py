"""Sets of image files in folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from patchlight.data.decoding import COLOURS, Decoding
from patchlight.data.image_files import Header, Picture, open_picture
from patchlight.data.labels import numbers
from patchlight.data.sources.base import (
    Direction,
    Found,
    ImageSource,
    Pairing,
    PairSource,
    Split,
    StoredSet,
)
from patchlight.data.sources.layouts import DISK, Disk, Layout, domain_folders, find_split, match, require_layout
from patchlight.errors import DataError

THREADS = 8
"""They wait for the disk more than they compute; on a network file system that is what takes the time."""


class OddWidthError(DataError):
    """A side-by-side file that cannot be cut in halves."""


class _Paths:
    """Image files, whose keys are their paths."""

    header_threads = THREADS

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def key(self, index: int) -> str:
        return str(self.paths[index])

    def fingerprint(self, index: int) -> str:
        path = self.paths[index]
        return f"{path.parent.name}/{path.name} {path.stat().st_size}"


class Files(_Paths, ImageSource):
    """Image files of one domain."""

    def __init__(self, paths: Sequence[Path], decoding: Decoding = COLOURS) -> None:
        super().__init__(paths)
        self.decoding = decoding

    def encoded(self, index: int) -> Sequence[bytes] | None:
        return [self.paths[index].read_bytes()]

    def read(self, index: int) -> Picture:
        return self.decoding.read(self.paths[index])

    def header(self, index: int) -> Header:
        return self.decoding.header(self.paths[index], thorough=False)

    def exact_header(self, index: int) -> Header:
        return self.decoding.header(self.paths[index])


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


class SideBySide(_Paths, PairSource):
    """Image files that hold A on the left and B on the right, whose keys are their paths."""

    def __init__(self, paths: Sequence[Path], decoding: Decoding = COLOURS) -> None:
        super().__init__(paths)
        self.decoding = decoding

    def read(self, index: int) -> tuple[Picture, Picture]:
        return halves(self.key(index), self.decoding.read(self.paths[index]))

    def encoded(self, index: int) -> Sequence[bytes]:
        return [self.paths[index].read_bytes()]

    def header(self, index: int) -> tuple[Header, Header]:
        return self.exact_header(index, thorough=False)

    def exact_header(self, index: int, thorough: bool = True) -> tuple[Header, Header]:
        return header_halves(self.key(index), self.decoding.header(self.paths[index], thorough))


def halves(key: str, image: Picture) -> tuple[Picture, Picture]:
    """The left and the right half of an image.

    Raises:
        OddWidthError: its width is odd.
    """
    if isinstance(image, np.ndarray):
        middle = _middle(key, image.shape[1])
        return image[:, :middle], image[:, middle:]
    middle = _middle(key, image.width)
    return image.crop((0, 0, middle, image.height)), image.crop((middle, 0, image.width, image.height))


def header_halves(key: str, whole: Header) -> tuple[Header, Header]:
    """The headers of both halves of an image; errors as `halves`."""
    half = replace(whole, width=_middle(key, whole.width))
    return half, half


def _middle(key: str, width: int) -> int:
    if width % 2:
        raise OddWidthError(
            f"{key} is {width} pixels wide, an odd number, so it cannot hold two images side by side: cut it to an "
            f"even width, or use data.layout=folders"
        )
    return width // 2


class Folders(StoredSet):
    """The set below a folder: `root/{train,val,test}` side by side, or `root/{train,val,test}{A,B}`.

    With `instances` the domain with which `direction` begins is label maps, whose instances lie in
    `root/{split}_instances` under the same names. `decoding_a` and `decoding_b` are those of the two domains.
    """

    def __init__(
        self,
        root: str | Path,
        pairing: Pairing = "paired",
        layout: Layout = "auto",
        instances: bool = False,
        direction: Direction = "AtoB",
        decoding_a: Decoding = COLOURS,
        decoding_b: Decoding = COLOURS,
    ) -> None:
        super().__init__(root)
        self.pairing, self.layout = pairing, layout
        self.decoding_a, self.decoding_b = decoding_a, decoding_b
        self.instances_of: Literal["a", "b"] | None = None
        if instances:
            self.instances_of = "a" if direction == "AtoB" else "b"

    def __call__(self, *, split: Split) -> Found:
        """The images of a split in a deterministic order; empty where the set has no such split.

        Raises:
            DataError: the folder of a split is empty, one of its two is missing, an image has no partner, or the layout
                is not clear.
        """
        trees = Disk(self.decoding_a), Disk(self.decoding_b)
        found = find_split(self.root, split, self.layout, self.pairing, *trees)
        if isinstance(found, list):
            if self.instances_of is not None:
                raise DataError(
                    f"data.instances=true needs label maps in a folder of their own: {self.root / split} holds "
                    f"pairs side by side"
                )
            return SideBySide(found, self.decoding_a.of_halves(self.decoding_b))
        a, b = found or ((), ())
        return self._files("a", a, split), self._files("b", b, split)

    def _files(self, domain: Literal["a", "b"], paths: Sequence[Path], split: Split) -> Files:
        if domain != self.instances_of or not paths:
            return Files(paths, self.decoding_a if domain == "a" else self.decoding_b)
        folder = domain_folders(self.root, split)["ab".index(domain)]
        beside = self.root / f"{split}_instances"
        if not os.path.isdir(beside):
            raise DataError(f"{beside} is not there: data.instances=true looks for the instances of {folder} in it")
        return LabelFiles(*match(folder, list(paths), beside, DISK.images(beside)))

    def require_training_images(self) -> None:
        root = self.root
        if not os.path.isdir(root):
            raise DataError(f"data.root={root} is not a folder: give the folder of the image set, or download one")
        if not os.access(root, os.R_OK | os.X_OK):
            raise DataError(f"data.root={root} may not be read: change its permissions")
        require_layout(root, self.layout, self.pairing)
