"""Unpacking an archive of images from a stranger: plain files, inside the target folder, all of them or none."""

from __future__ import annotations

import errno
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from patchlight.errors import DataError

MAX_EXPANSION = 20
"""Images hardly compress; an archive that grows by more than this factor is none of images."""

FREE_EXPANSION = 64 << 20
"""Bytes that any archive may hold, however small it is."""

CHUNK = 1 << 20

DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
)  # fmt: skip
"""What the readers of archives raise at damage, besides an OSError without a number."""


class BadArchiveError(DataError):
    """The archive is damaged, or not to be trusted."""


Entry = tuple[str, int, IO[bytes]]
"""Name in the archive, size in bytes, content."""


class Allowance:
    """How many bytes may still come out of an archive."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.left = MAX_EXPANSION * archive.stat().st_size + FREE_EXPANSION

    def spend(self, size: int) -> None:
        """Refuse an archive that grows beyond measure."""
        self.left -= size
        if self.left < 0:
            raise BadArchiveError(f"{self.archive}: refused, it unpacks to over {MAX_EXPANSION} times its own size")


def unpack(archive: Path, target: Path) -> int:
    """Unpack a .zip or .tar.gz so that `target` is its one top folder, or holds its content; how many files that were.

    The files are written to a hidden folder beside `target`, which takes the name `target` when all of them are there
    and the checksums of the archive are right. Of files with the same name the last one counts, as for tar.

    Raises:
        BadArchiveError: it is damaged, holds a link, a device or a path that leads out of the target, or grows beyond
            measure. Nothing of it is kept.
        DataError: the disk is full, or the folder cannot be written.
    """
    work = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True)
        count = _write(archive, work)
        if count == 0:
            raise BadArchiveError(f"{archive}: the archive holds no file")
        _top_folder(work).rename(target)
    except DAMAGE as error:
        raise BadArchiveError(f"{archive}: the archive is damaged ({error})") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(f"{target.parent}: the disk is full. Make room and run the same command again.") from None
        # gzip reports damage as an OSError without a number.
        if error.errno is None:
            raise BadArchiveError(f"{archive}: the archive is damaged ({error})") from None
        raise DataError(f"{target}: the images cannot be written ({error})") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return count


def _write(archive: Path, folder: Path) -> int:
    allowance = Allowance(archive)
    written: set[Path] = set()
    for name, size, content in _entries(archive, allowance):
        path = safe_path(archive, name)
        allowance.spend(size)
        if "__MACOSX" in path.parts or path.name == ".DS_Store" or path.name.startswith("._"):
            continue
        destination = folder / path
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            with destination.open("wb") as file:
                shutil.copyfileobj(content, file, length=CHUNK)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise BadArchiveError(f"{archive}: refused, {name!r} in it is a file and a folder") from None
        written.add(destination)
    return len(written)


def _entries(archive: Path, allowance: Allowance) -> Iterator[Entry]:
    """The files of the archive in their order; folders are made as files need them."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if info.is_dir():
                    safe_path(archive, info.filename)
                    continue
                # The upper half of the attributes is the Unix mode: 0o100000 is a file, 0 is not recorded.
                if (info.external_attr >> 16) & 0o170000 not in (0, 0o100000):
                    raise BadArchiveError(f"{archive}: refused, {info.filename!r} in it is a link or a device")
                with opened.open(info) as content:
                    yield info.filename, info.file_size, content
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isdir():
                safe_path(archive, member.name)
                continue
            plain = tar.extractfile(member) if member.isreg() else None
            if plain is None:
                raise BadArchiveError(f"{archive}: refused, {member.name!r} in it is a link or a device")
            with plain:
                yield member.name, member.size, plain
        # The checksum stands behind all that is in the archive, and is compared when that has been read.
        assert tar.fileobj is not None
        while rest := tar.fileobj.read(CHUNK):
            allowance.spend(len(rest))


def safe_path(archive: Path, name: str) -> PurePosixPath:
    """The name of an entry as a path below the folder that it would be unpacked to.

    Raises:
        BadArchiveError: it leads out of that folder.
    """
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.anchor or ".." in windows.parts or "\\" in name:
        raise BadArchiveError(f"{archive}: refused, {name!r} in it leads out of the folder")
    return path


def _top_folder(work: Path) -> Path:
    """The only folder in `work`, which such archives usually have, or `work` itself."""
    inside = list(work.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else work
