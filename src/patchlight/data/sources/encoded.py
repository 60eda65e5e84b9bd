"""Image files that lie within another file: sources that only have to say where their bytes are."""

from __future__ import annotations

import io
from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import IO

from patchlight.data.image_files import Header, Picture, decode_picture, read_stream_header
from patchlight.data.sources.base import ImageSource, PairSource
from patchlight.data.sources.folders import halves, header_halves
from patchlight.errors import DataError

MAX_BYTES = 1 << 30
"""Of one encoded image; what is larger is none."""


class EncodedFiles:
    """Encoded images by number, each of which has a key."""

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
        return decode_picture(self.content(index), self.key(index))

    def picture_header(self, index: int, thorough: bool) -> Header:
        """The header of an image, see `patchlight.data.image_files.read_header`."""
        with self.open(index) as stream:
            return read_stream_header(stream, self.key(index), thorough)


class EncodedImages(EncodedFiles, ImageSource):
    """Encoded images of one domain."""

    def read(self, index: int) -> Picture:
        return self.picture(index)

    def header(self, index: int) -> Header:
        return self.picture_header(index, thorough=False)

    def exact_header(self, index: int) -> Header:
        return self.picture_header(index, thorough=True)


class EncodedSideBySide(EncodedFiles, PairSource):
    """Encoded images that hold A on the left and B on the right."""

    def read(self, index: int) -> tuple[Picture, Picture]:
        return halves(self.key(index), decode_picture(self.content(index), self.key(index)))

    def header(self, index: int) -> tuple[Header, Header]:
        return header_halves(self.key(index), self.picture_header(index, thorough=False))

    def exact_header(self, index: int) -> tuple[Header, Header]:
        return header_halves(self.key(index), self.picture_header(index, thorough=True))


def require_usual_size(key: str, size: int) -> None:
    """Raise a DataError for an image file of no bytes, or of so many that it is none."""
    if size == 0:
        raise DataError(f"{key} has no bytes: replace or remove it")
    if size > MAX_BYTES:
        raise DataError(f"{key} has {size} bytes, more than the {MAX_BYTES} of any image that is read: remove it")
