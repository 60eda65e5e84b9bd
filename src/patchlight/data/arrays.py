"""Files of NumPy: what their heads say, and their values, of which nothing is unpickled."""

from __future__ import annotations

import errno
import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})

MAX_BANDS = 1024
"""Pages or channels of a file."""

MAX_VALUES = 2**30
"""Values of all bands of an image together; as floating point they take 4 GiB."""

NUMPY, ZIP = b"\x93NUMPY", b"PK\x03\x04"
"""How the content of .npy and .npz files begins."""


def is_array(file: Path | bytes | IO[bytes]) -> bool:
    """Whether a file is taken for one of NumPy: by its name alone, where hidden files are not, or by its content."""
    if isinstance(file, Path):
        return file.suffix.lower() in ARRAY_SUFFIXES and not file.name.startswith(".")
    if isinstance(file, bytes):
        return file.startswith((NUMPY, ZIP))
    begin = file.read(len(NUMPY))
    file.seek(0)
    return begin.startswith((NUMPY, ZIP))


@dataclass(frozen=True)
class ArrayKind:
    """What the head of an .npy file says of its values.

    Raises:
        DataError: Python objects, which are never unpickled, or more values than memory may have room for.
        ValueError: they are no numbers, or no image.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        shape, limit = self.shape, Image.MAX_IMAGE_PIXELS
        if self.dtype.hasobject:
            raise ValueError("it holds Python objects, which are never unpickled: save numbers")
        if self.dtype.kind not in "uif":
            raise ValueError(f"its values are {self.dtype}: they should be integers or floating point")
        if len(shape) not in (2, 3) or min(shape) < 1 or (len(shape) == 3 and shape[2] > MAX_BANDS):
            raise ValueError(
                f"an array of shape {shape} is no image: it should be H W or H W C, of at most {MAX_BANDS} channels"
            )
        if math.prod(shape) > MAX_VALUES or (limit is not None and shape[0] * shape[1] > limit):
            raise Image.DecompressionBombError(f"an array of shape {shape}")

    def read(self, file: IO[bytes]) -> NDArray[Any]:
        """The values that follow the head."""
        size = math.prod(self.shape) * self.dtype.itemsize
        content = file.read(size)
        if len(content) < size:
            raise ValueError("the file ends before its values do")
        return np.ndarray(self.shape, self.dtype, content, order="F" if self.fortran else "C")


@contextmanager
def open_array(file: Path | IO[bytes]) -> Iterator[tuple[IO[bytes], ArrayKind]]:
    """An .npy file, or the one in an .npz, at its first value, and what its head says."""
    if isinstance(file, Path):
        if not file.is_file():  # opening a pipe would wait for ever
            raise OSError("it is no regular file" if file.exists() else os.strerror(errno.ENOENT))
        with file.open("rb") as stream, open_array(stream) as found:
            yield found
        return
    begin = file.read(len(ZIP))
    file.seek(0)
    if begin != ZIP:
        yield file, _array_kind(file)
        return
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) != 1 or not members[0].filename.endswith(".npy"):
            raise ValueError(f"it holds {len(members)} files: an .npz should hold one array")
        with archive.open(members[0]) as member:
            yield member, _array_kind(member)


def _array_kind(file: IO[bytes]) -> ArrayKind:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return ArrayKind(*read(file))
