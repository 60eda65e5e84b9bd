"""Archives that are damaged or mean harm; the good ones are unpacked in test_download.py."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from archives_of import tar_of, zip_of
from patchlight.errors import DataError
from patchlight.system import archives


@pytest.mark.parametrize("place", [-8, -4], ids=["checksum", "length"])
@pytest.mark.parametrize("padding", [0, 2**20], ids=["plain", "padded"])
def test_a_tar_gz_with_a_wrong_checksum_is_damaged(tmp_path: Path, place: int, padding: int) -> None:
    """Also where blocks of zeros follow the end of the archive, which tar does not read by itself."""
    archive = gzip.decompress(tar_of({"set/1.jpg": b"picture"})) + bytes(padding)
    content = bytearray(gzip.compress(archive))
    content[place] ^= 1
    (tmp_path / "set.tar.gz").write_bytes(content)
    with pytest.raises(archives.BadArchiveError, match=r"set.tar.gz: the archive is damaged \("):
        archives.unpack(tmp_path / "set.tar.gz", tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set.tar.gz"]


def test_what_follows_the_end_of_an_archive_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_EXPANSION", 2**16)
    content = gzip.decompress(tar_of({"set/1.jpg": b"picture"})) + bytes(2**22)
    (tmp_path / "set.tar.gz").write_bytes(gzip.compress(content))
    with pytest.raises(archives.BadArchiveError, match="over 20 times its own size"):
        archives.unpack(tmp_path / "set.tar.gz", tmp_path / "set")


@pytest.mark.parametrize("pack", [lambda tar: tar, gzip.compress, bz2.compress, lzma.compress])
def test_every_compression_of_a_tar(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "set.tar").write_bytes(pack(gzip.decompress(tar_of({"set/1.jpg": b"picture"}))))
    assert archives.unpack(tmp_path / "set.tar", tmp_path / "set") == 1
    assert (tmp_path / "set" / "1.jpg").read_bytes() == b"picture"


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_of_two_files_with_one_name_the_last_counts(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "set.archive"
    contents = [("set/1.jpg", b"first"), ("set/2.jpg", b"other"), ("set/1.jpg", b"last")]
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as opened:
            for name, content in contents:
                opened.writestr(name, content)
    else:
        with tarfile.open(path, mode="w:gz") as tar:
            for name, content in contents:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    assert archives.unpack(path, tmp_path / "set") == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "set").iterdir()} == {
        "1.jpg": b"last", "2.jpg": b"other"
    }  # fmt: skip


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize("names", [("set/a", "set/a/b.jpg"), ("set/a/b.jpg", "set/a")])
def test_a_name_of_a_file_and_of_a_folder_is_refused(
    tmp_path: Path, make: Callable[[dict[str, bytes]], bytes], names: tuple[str, str]
) -> None:
    (tmp_path / "set.archive").write_bytes(make(dict.fromkeys(names, b"x")))
    with pytest.raises(archives.BadArchiveError, match=f"refused, '{names[1]}' in it is a file and a folder"):
        archives.unpack(tmp_path / "set.archive", tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set.archive"]


def test_a_zip_with_a_wrong_checksum_is_damaged(tmp_path: Path) -> None:
    content = bytearray(zip_of({"set/1.jpg": b"picture"}))
    content[content.index(b"picture")] ^= 1
    (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(archives.BadArchiveError, match="damaged"):
        archives.unpack(tmp_path / "set.zip", tmp_path / "set")


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize("name", ["../evil.jpg", "set/../../evil.jpg", "/evil.jpg", "C:/evil.jpg", "set\\..\\evil.jpg"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, make: Callable[[dict[str, bytes]], bytes], name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "set.archive").write_bytes(make({"set/good.jpg": b"x", name: b"x"}))
    with pytest.raises(archives.BadArchiveError, match="leads out of the folder"):
        archives.unpack(root / "set.archive", root / "set")
    assert [path.name for path in tmp_path.rglob("*")] == ["root", "set.archive"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    link = tarfile.TarInfo("set/link")
    link.type, link.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as tar:
        tar.addfile(link)
    with pytest.raises(archives.BadArchiveError, match="'set/link' in it is a link or a device"):
        archives.unpack(tmp_path / "set.tar.gz", tmp_path / "set")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("set/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as opened:
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(archives.BadArchiveError, match="is a link or a device"):
        archives.unpack(tmp_path / "set.zip", tmp_path / "set")


def test_an_archive_that_grows_beyond_measure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_EXPANSION", 1000)
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("set/1.jpg", bytes(1_000_000))
    with pytest.raises(archives.BadArchiveError, match="over 20 times its own size"):
        archives.unpack(tmp_path / "set.zip", tmp_path / "set")


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(zip_of({}))
    with pytest.raises(archives.BadArchiveError, match="holds no file"):
        archives.unpack(tmp_path / "set.zip", tmp_path / "set")


@pytest.mark.parametrize(
    ("number", "message"), [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "cannot be written")]
)
def test_a_disk_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def fail(*_: object, length: int) -> None:
        raise OSError(number, "no")

    (tmp_path / "set.zip").write_bytes(zip_of({"set/1.jpg": b"x"}))
    monkeypatch.setattr(archives.shutil, "copyfileobj", fail)
    with pytest.raises(DataError, match=message) as raised:
        archives.unpack(tmp_path / "set.zip", tmp_path / "set")
    assert not isinstance(raised.value, archives.BadArchiveError)
    assert [path.name for path in tmp_path.iterdir()] == ["set.zip"]


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_folders_are_made_only_for_files(tmp_path: Path, make: Callable[[dict[str, bytes]], bytes]) -> None:
    archive = tmp_path / "set.archive"
    archive.write_bytes(make({"set/train/1.jpg": b"x"}))
    if make is zip_of:
        with zipfile.ZipFile(archive, "a") as opened:
            opened.mkdir("set/empty")
    assert archives.unpack(archive, tmp_path / "set") == 1
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "set",
        "set.archive",
        "set/train",
        "set/train/1.jpg",
    ]


def test_a_folder_that_leads_out_is_refused(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("../out")
    folder.type = tarfile.DIRTYPE
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as tar:
        tar.addfile(folder)
    with pytest.raises(archives.BadArchiveError, match="leads out of the folder"):
        archives.unpack(tmp_path / "set.tar.gz", tmp_path / "set")
