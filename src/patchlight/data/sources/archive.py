"""A set within a zip or tar archive, which is read in place: folders as on a disk, and nothing is unpacked."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import IO, get_args

from patchlight.data.decoding import COLOURS, Decoding
from patchlight.data.sources.base import Found, ImageSource, MaskedSet, Pairing, PairSource, Split, StoredSet
from patchlight.data.sources.encoded import EncodedImages, EncodedSideBySide, NamedFiles, require_usual_size
from patchlight.data.sources.layouts import Layout, find_split, match_masks, require_layout, sorted_images
from patchlight.errors import DataError
from patchlight.system.archives import DAMAGE, FREE_EXPANSION, MAX_EXPANSION, safe_path

ANY_IMAGE = Decoding(arrays=True)
"""Says which files of an archive are kept in mind; NumPy files may turn out to be images or not."""

SPLIT_FOLDERS = [split + domain for split in get_args(Split) for domain in ("", "A", "B")]

GZIP, BZIP2, XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ"
"""How files begin that are compressed as a whole, in which no place can be found without all that is before it."""


USTAR, USTAR_AT = b"ustar", 257
"""What the first header of a tar archive holds, and where."""


class Members(ABC):
    """The image files of an archive, by their paths below it, with the number of their bytes."""

    sizes: dict[Path, int]

    @abstractmethod
    def open(self, path: Path) -> AbstractContextManager[IO[bytes]]:
        """An image file to be read and sought in."""


class TarMembers(Members):
    """Those of an uncompressed tar archive, of which an index of places is made once."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.sizes: dict[Path, int] = {}
        self._begins: dict[Path, int] = {}
        with tarfile.open(archive, "r:") as opened:
            while (member := opened.next()) is not None:
                path = _image_path(archive, member.name, self.sizes) if not member.isdir() else None
                if path is not None:
                    if not member.isreg() or member.issparse():
                        raise DataError(f"{path} is no plain file of the archive: pack the image itself")
                    self.sizes[path], self._begins[path] = member.size, member.offset_data
                opened.members.clear()  # type: ignore[attr-defined]  # which would keep all of them in memory
            end = opened.offset
        with archive.open("rb") as file:
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # what is cut off elsewhere passes for whole
                raise DataError(f"{archive} is damaged: after {len(self.sizes)} images there is no mark of its end")

    def open(self, path: Path) -> AbstractContextManager[IO[bytes]]:
        return io.BufferedReader(_Section(self.archive, self._begins[path], self.sizes[path]))


class _Section(io.RawIOBase):
    """Part of a file, as a file."""

    def __init__(self, path: Path, begin: int, size: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._begin, self._size, self._place = begin, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence] + offset)
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._file.seek(self._begin + self._place)
        read = self._file.readinto(memoryview(buffer)[: max(0, self._size - self._place)])
        self._place += read
        return read

    def close(self) -> None:
        self._file.close()
        super().close()


class ZipMembers(Members):
    """Those of a zip archive."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.sizes: dict[Path, int] = {}
        self._names: dict[Path, str] = {}
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        self._lock = Lock()
        for member in self._here().infolist():
            path = _image_path(archive, member.filename, self.sizes) if not member.is_dir() else None
            if path is None:
                continue
            # The upper half of the attributes is the Unix mode: 0o100000 is a file, 0 is not recorded.
            if (member.external_attr >> 16) & 0o170000 not in (0, 0o100000):
                raise DataError(f"{path} is no plain file of the archive: pack the image itself")
            if member.file_size > MAX_EXPANSION * member.compress_size + FREE_EXPANSION:
                raise DataError(f"{path} is refused: it unpacks to over {MAX_EXPANSION} times its own size")
            self.sizes[path], self._names[path] = member.file_size, member.filename

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_opened", "_lock")}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__ |= {**state, "_opened": None, "_lock": Lock()}

    def _here(self) -> zipfile.ZipFile:
        """The archive, opened by this process: those that are forked would share the place at which they read."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), zipfile.ZipFile(self.archive)
        return self._opened[1]

    @contextmanager
    def open(self, path: Path) -> Iterator[IO[bytes]]:
        # Threads that open and close members at once would lose count of them.
        with self._lock, self._here().open(self._names[path]) as member:
            yield member


def _image_path(archive: Path, name: str, known: Iterable[Path]) -> Path | None:
    """Where an entry lies below the archive; None for what is no image of any kind by its name."""
    inner = safe_path(archive, name)
    path = archive / inner
    if not ANY_IMAGE.takes(path) or any(part.startswith(".") for part in inner.parts):
        return None
    if path in known:
        raise DataError(f"{archive} holds {inner} twice, so it is not clear which one counts: pack it anew")
    return path


class ArchiveTree:
    """The folders of an archive; `decoding` says which files are images."""

    def __init__(self, archive: Path, members: Members, decoding: Decoding = COLOURS) -> None:
        self.decoding = decoding
        self.paths = sorted(filter(decoding.takes, members.sizes), key=lambda path: path.as_posix())
        inner = [PurePosixPath(path.relative_to(archive)) for path in self.paths]
        self._folders = {archive / parent for path in inner for parent in path.parents}
        top = {path.parts[0] for path in inner}
        only = top.pop() if len(top) == 1 and all(len(path.parts) > 1 for path in inner) else ""
        self.root = archive if only in SPLIT_FOLDERS else archive / only

    def is_folder(self, path: Path) -> bool:
        return path in self._folders

    def images(self, folder: Path) -> list[Path]:
        return sorted_images(folder, [path for path in self.paths if path.is_relative_to(folder)], self.decoding)


class ArchivedFiles(NamedFiles):
    """Image files within an archive, whose keys are their paths below it."""

    def __init__(self, members: Members, paths: Sequence[Path], decoding: Decoding = COLOURS) -> None:
        super().__init__(paths, decoding)
        self.members = members

    def size(self, path: Path) -> int:
        return self.members.sizes[path]

    def _path(self, index: int) -> Path:
        path = self.paths[index]
        require_usual_size(str(path), self.members.sizes[path])
        return path

    def open(self, index: int) -> AbstractContextManager[IO[bytes]]:
        return self.members.open(self._path(index))

    def content(self, index: int) -> bytes:
        with self.open(index) as stream:
            return stream.read()


class ArchivedImages(ArchivedFiles, EncodedImages):
    """Those of one domain."""


class ArchivedSideBySide(ArchivedFiles, EncodedSideBySide):
    """Those that hold A on the left and B on the right."""


class Archive(StoredSet, MaskedSet):
    """The set within a zip archive or an uncompressed tar archive, in folders as those of `Folders`.

    They may lie in one folder at its top.
    """

    def __init__(self, root: str | Path, pairing: Pairing = "paired", layout: Layout = "auto") -> None:
        super().__init__(root)
        self.pairing, self.layout = pairing, layout
        self._members: Members | None = None

    @property
    def members(self) -> Members:
        """The image files, which are looked for once.

        Raises:
            DataError: the archive is damaged, compressed as a whole, or holds what it should not.
        """
        if self._members is None:
            self._members = open_archive(self.root)
        return self._members

    def __call__(self, *, split: Split) -> Found:
        """The images of a split in the order that they have in folders.

        Raises:
            DataError: as that of folders, or the archive cannot be used.
        """
        of_a, of_b = self.decodings
        tree, tree_b = self._tree(of_a), self._tree(of_b)
        found = find_split(tree.root, split, self.layout, self.pairing, tree, tree_b)
        if isinstance(found, list):
            return ArchivedSideBySide(self.members, found, of_a.of_halves(of_b))
        a, b = found or ((), ())
        return ArchivedImages(self.members, a, of_a), ArchivedImages(self.members, b, of_b)

    def masks(self, split: Split, images: ImageSource | PairSource) -> ArchivedImages:
        assert isinstance(images, ArchivedFiles)
        tree = self._tree(COLOURS)
        paths = match_masks(tree.root, split, images.paths, isinstance(images, ArchivedSideBySide), tree)
        return ArchivedImages(self.members, paths)

    def require_training_images(self) -> None:
        if not os.path.isfile(self.root):
            raise DataError(f"data.root={self.root} is no file: give a .zip or an uncompressed .tar")
        tree = self._tree(self.decodings[0])
        require_layout(tree.root, self.layout, self.pairing, tree)

    def _tree(self, decoding: Decoding) -> ArchiveTree:
        return ArchiveTree(self.root, self.members, decoding)


def open_archive(path: Path) -> Members:
    """The image files of a zip or tar archive.

    Raises:
        DataError: it is damaged, compressed as a whole, or holds what it should not.
    """
    try:
        with path.open("rb") as file:
            head = file.read(tarfile.BLOCKSIZE)
        if head.startswith((GZIP, BZIP2, XZ)):
            raise DataError(
                f"{path} is compressed as a whole, so its images cannot be read one by one: pack them as .zip or "
                f"plain .tar, or unpack them"
            )
        # A tar whose last file is an .npz ends as a zip does, by which `is_zipfile` goes.
        is_tar = head[USTAR_AT:].startswith(USTAR)
        return ZipMembers(path) if not is_tar and zipfile.is_zipfile(path) else TarMembers(path)
    except DAMAGE as error:
        raise DataError(f"{path} is damaged, or no zip or tar archive ({error})") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from None
