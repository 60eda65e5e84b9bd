"""Image files, on a disk or within another file: sources that only have to say where the bytes are."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from patchlight.data.decoding import COLOURS, Decoding
from patchlight.data.image_files import Header, Picture
from patchlight.data.sources.base import ImageSource, PairSource
from patchlight.errors import DataError

MAX_BYTES = 1 << 30
"""Of one encoded image; what is larger is none."""


class OddWidthError(DataError):
    """A side-by-side file that cannot be cut in halves."""


class EncodedFiles:
    """Image files by number, each of which has a key; `decoding` says how they become pictures."""

    decoding: Decoding = COLOURS

    @abstractmethod
    def key(self, index: int) -> str: ...

    @abstractmethod
    def content(self, index: int) -> bytes:
        """All bytes of an image file."""

    def open(self, index: int) -> AbstractContextManager[IO[bytes]]:
        """An image file to be read and sought in, where reading all of it can be avoided."""
        return io.BytesIO(self.content(index))

    def picture(self, index: int) -> Picture:
        """The decoded image, upright."""
        return self.decoding.read(self.content(index), self.key(index))

    def picture_header(self, index: int, thorough: bool) -> Header:
        """The header of an image, see `patchlight.data.image_files.read_header`."""
        with self.open(index) as stream:
            return self.decoding.header(stream, thorough, self.key(index))

    def encoded(self, index: int) -> Sequence[bytes] | None:
        """The image file, byte for byte."""
        return [self.content(index)]


class NamedFiles(EncodedFiles):
    """Image files whose keys are their paths, on a disk or below an archive."""

    def __init__(self, paths: Sequence[Path], decoding: Decoding = COLOURS) -> None:
        self.paths = tuple(paths)
        self.decoding = decoding

    def __len__(self) -> int:
        return len(self.paths)

    def key(self, index: int) -> str:
        return str(self.paths[index])

    @abstractmethod
    def size(self, path: Path) -> int:
        """The number of bytes of a file."""

    def fingerprint(self, index: int) -> str:
        path = self.paths[index]
        return f"{path.parent.name}/{path.name} {self.size(path)}"


class EncodedImages(EncodedFiles, ImageSource):
    """Image files of one domain."""

    def read(self, index: int) -> Picture:
        return self.picture(index)

    def header(self, index: int) -> Header:
        return self.picture_header(index, thorough=False)

    def exact_header(self, index: int) -> Header:
        return self.picture_header(index, thorough=True)


class EncodedSideBySide(EncodedFiles, PairSource):
    """Image files that hold A on the left and B on the right."""

    def read(self, index: int) -> tuple[Picture, Picture]:
        return halves(self.key(index), self.picture(index))

    def header(self, index: int) -> tuple[Header, Header]:
        return header_halves(self.key(index), self.picture_header(index, thorough=False))

    def exact_header(self, index: int) -> tuple[Header, Header]:
        return header_halves(self.key(index), self.picture_header(index, thorough=True))


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


def require_usual_size(key: str, size: int) -> None:
    """Raise a DataError for an image file of no bytes, or of so many that it is none."""
    if size == 0:
        raise DataError(f"{key} has no bytes: replace or remove it")
    if size > MAX_BYTES:
        raise DataError(f"{key} has {size} bytes, more than the {MAX_BYTES} of any image that is read: remove it")
