"""patchlight-download against a server on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from archives_of import tar_of, zip_of
from patchlight.cli import download
from patchlight.errors import DataError
from patchlight.system import transfer

FILES = {"facades/train/1.jpg": b"one" * 50_000, "facades/test/2.jpg": b"two" * 20_000}


@dataclass
class Site:
    """What the server has and how it behaves; `ranges` are the Range headers it was sent."""

    files: dict[str, bytes]
    etag: str = '"v1"'
    honours_ranges: bool = True
    drops: int = 0
    refusals: list[int] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def site() -> Iterator[Site]:
    state = Site(files={})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            if state.refusals:
                return self.send_error(state.refusals.pop(0))
            body = state.files.get(self.path)
            if body is None:
                return self.send_error(404)
            unchanged = self.headers.get("If-Range") in (None, state.etag)
            start = int(asked[len("bytes=") : -1]) if asked and state.honours_ranges and unchanged else 0
            if start and start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                return self.end_headers()
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("ETag", state.etag)
            rest = body[start:]
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if state.drops:
                state.drops -= 1
                rest = rest[: len(rest) // 2]
            self.wfile.write(rest)
            return None

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer.time, "sleep", lambda _: None)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(site: Site, root: Path, *arguments: str) -> None:
    download.main([*arguments, "--root", str(root), "--mirror", site.address])


def expect_error(site: Site, root: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        run(site, root, *arguments)
    assert stopped.value.code == 1
    return capsys.readouterr().err


def test_pairs_come_as_tar(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tar_of(FILES)
    site.files["/pix2pix/datasets/facades.tar.gz"] = archive
    run(site, tmp_path, "facades")
    assert content_of(tmp_path) == FILES  # and neither archive nor part is left
    out = capsys.readouterr().out
    assert f"{len(archive):,} bytes, sha256 {hashlib.sha256(archive).hexdigest()}" in out
    assert f"Next: patchlight-train experiment=facades_pix2pix data.root={tmp_path / 'facades'}" in out


def test_an_archive_with_another_checksum_is_not_unpacked(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tar_of(FILES)
    site.files["/pix2pix/datasets/facades.tar.gz"] = archive
    digest = hashlib.sha256(archive).hexdigest()
    err = expect_error(site, tmp_path, "facades", "--sha256", "0" * 64, capsys=capsys)
    assert f"facades.tar.gz: its sha256 is {digest} and not {'0' * 64}. The archive was removed." in err
    assert content_of(tmp_path) == {}
    run(site, tmp_path, "facades", "--sha256", digest.upper())
    assert content_of(tmp_path) == FILES


def test_unpaired_come_as_zip_and_litter_is_left_out(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {"apple2orange/trainA/1.jpg": b"a", "apple2orange/trainB/1.jpg": b"b"}
    litter = {
        "__MACOSX/apple2orange/._1.jpg": b"x",
        "apple2orange/.DS_Store": b"x",
        "apple2orange/trainA/._1.jpg": b"x",
    }
    site.files["/cyclegan/datasets/apple2orange.zip"] = zip_of({**kept, **litter})
    run(site, tmp_path, "apple2orange")
    assert content_of(tmp_path) == kept
    folder = tmp_path / "apple2orange"
    assert f"Next: patchlight-train data=unpaired model=cyclegan data.root={folder}" in capsys.readouterr().out


def test_an_archive_without_a_top_folder_gets_one(site: Site, tmp_path: Path) -> None:
    site.files["/cyclegan/datasets/ae_photos.zip"] = zip_of({"testA/1.jpg": b"a", "testB/1.jpg": b"b"})
    run(site, tmp_path, "ae_photos")
    assert content_of(tmp_path) == {"ae_photos/testA/1.jpg": b"a", "ae_photos/testB/1.jpg": b"b"}


def test_the_other_family_has_a_folder_of_its_own(site: Site, tmp_path: Path) -> None:
    site.files["/pix2pix/datasets/facades.tar.gz"] = tar_of(FILES)
    site.files["/cyclegan/datasets/facades.zip"] = zip_of({"facades/trainA/1.jpg": b"a"})
    run(site, tmp_path, "facades")
    run(site, tmp_path, "facades", "--family", "cyclegan")
    assert content_of(tmp_path) == {**FILES, "facades_cyclegan/trainA/1.jpg": b"a"}


def test_dropped_connections_go_on_where_they_were(site: Site, tmp_path: Path) -> None:
    archive = tar_of(FILES)
    site.files["/pix2pix/datasets/facades.tar.gz"] = archive
    site.drops = 2
    run(site, tmp_path, "facades")
    half = len(archive) // 2
    assert site.ranges == [None, f"bytes={half}-", f"bytes={half + (len(archive) - half) // 2}-"]
    assert content_of(tmp_path) == FILES


def test_a_stopped_download_goes_on_in_the_next_run(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tar_of(FILES)
    site.files["/pix2pix/datasets/facades.tar.gz"] = archive
    site.drops = 1

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transfer.time, "sleep", interrupt)
        with pytest.raises(SystemExit) as stopped:
            run(site, tmp_path, "facades")
    assert stopped.value.code == 130
    assert "run the same command to go on" in capsys.readouterr().err
    half = len(archive) // 2
    assert (tmp_path / "facades.tar.gz.part").read_bytes() == archive[:half]
    run(site, tmp_path, "facades")
    assert site.ranges == [None, f"bytes={half}-"]
    assert content_of(tmp_path) == FILES


def begin(site: Site, root: Path, part: bytes, *, etag: str | None, size: int | None) -> None:
    """Leave behind what a stopped download does."""
    url = f"{site.address}/pix2pix/datasets/facades.tar.gz"
    (root / "facades.tar.gz.part").write_bytes(part)
    notes = transfer.json.dumps({"url": url, "validator": etag, "size": size})
    (root / "facades.tar.gz.part.json").write_text(notes)


def test_a_part_of_another_file_is_not_continued(site: Site, tmp_path: Path) -> None:
    site.files["/pix2pix/datasets/facades.tar.gz"] = tar_of(FILES)
    begin(site, tmp_path, b"old" * 1000, etag='"v0"', size=100_000)
    run(site, tmp_path, "facades")
    assert site.ranges == ["bytes=3000-"]
    assert content_of(tmp_path) == FILES


@pytest.mark.parametrize("notes", ["none", "unreadable", "nothing to compare", "other address"])
def test_a_part_of_unknown_origin_is_not_continued(site: Site, tmp_path: Path, notes: str) -> None:
    site.files["/pix2pix/datasets/facades.tar.gz"] = tar_of(FILES)
    begin(site, tmp_path, b"old" * 1000, etag=None, size=None)
    file = tmp_path / "facades.tar.gz.part.json"
    if notes == "none":
        file.unlink()
    elif notes == "unreadable":
        file.write_text('{"url"')
    elif notes == "other address":
        file.write_text('{"url": "http://elsewhere", "validator": "\\"v1\\"", "size": 3}')
    run(site, tmp_path, "facades")
    assert site.ranges == [None]
    assert content_of(tmp_path) == FILES


def test_a_part_that_is_the_whole_file_is_taken(site: Site, tmp_path: Path) -> None:
    archive = tar_of(FILES)
    site.files["/pix2pix/datasets/facades.tar.gz"] = archive
    begin(site, tmp_path, archive, etag='"v1"', size=len(archive))
    run(site, tmp_path, "facades")
    assert site.ranges == []
    assert content_of(tmp_path) == FILES


def test_a_part_longer_than_the_file_is_dropped(site: Site, tmp_path: Path) -> None:
    archive = tar_of(FILES)
    site.files["/pix2pix/datasets/facades.tar.gz"] = archive
    begin(site, tmp_path, archive + b"more", etag='"v1"', size=len(archive))
    run(site, tmp_path, "facades")
    assert site.ranges == [f"bytes={len(archive) + 4}-", None]
    assert content_of(tmp_path) == FILES


def test_a_server_without_ranges_starts_again(site: Site, tmp_path: Path) -> None:
    site.files["/pix2pix/datasets/facades.tar.gz"] = tar_of(FILES)
    site.honours_ranges = False
    site.drops = 1
    run(site, tmp_path, "facades")
    assert len(site.ranges) == 2
    assert content_of(tmp_path) == FILES


def test_a_server_that_never_gets_further_ends_the_attempts(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.files["/pix2pix/datasets/facades.tar.gz"] = tar_of(FILES)
    site.honours_ranges = False
    site.drops = 100
    err = expect_error(site, tmp_path, "facades", capsys=capsys)
    assert len(site.ranges) == 1 + download.ATTEMPTS
    assert "the connection was lost after" in err
    assert "5 times in a row" in err
    assert (tmp_path / "facades.tar.gz.part").exists()


def test_a_busy_server_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.files["/pix2pix/datasets/facades.tar.gz"] = tar_of(FILES)
    site.refusals = [503, 429]
    run(site, tmp_path, "facades")
    assert len(site.ranges) == 3
    assert content_of(tmp_path) == FILES


def test_a_missing_file_is_not_asked_for_again(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    err = expect_error(site, tmp_path, "maps", capsys=capsys)
    assert err.startswith(f"patchlight-download: {site.address}/pix2pix/datasets/maps.tar.gz: the server answers 404")
    assert len(site.ranges) == 1


def test_no_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(files={}, address="http://127.0.0.1:1")
    err = expect_error(site, tmp_path, "maps", capsys=capsys)
    assert "127.0.0.1 cannot be reached" in err
    assert "Check the network connection" in err


@pytest.mark.parametrize("name", ["facades", "horse2zebra"])
@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_archive_leaves_nothing(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, damage: str
) -> None:
    good = tar_of(FILES) if name == "facades" else zip_of(FILES)
    bad = good[: len(good) // 2] if damage == "cut" else b"<html>Please log in</html>"
    site.files["/pix2pix/datasets/facades.tar.gz"] = site.files["/cyclegan/datasets/horse2zebra.zip"] = bad
    err = expect_error(site, tmp_path, name, capsys=capsys)
    assert "the archive is damaged" in err
    assert "run the same command to download it again" in err
    assert list(tmp_path.iterdir()) == []


def test_a_set_that_is_there_is_reused(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "facades" / "train").mkdir(parents=True)
    run(site, tmp_path, "facades")
    assert site.ranges == []
    out = capsys.readouterr().out
    assert f"{tmp_path / 'facades'} is there already" in out
    assert "Next: patchlight-train" in out


def test_an_archive_that_was_not_unpacked_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "facades").mkdir()
    (tmp_path / "facades.tar.gz").write_bytes(tar_of(FILES))
    (tmp_path / ".facades.unpacking").mkdir()
    run(site, tmp_path, "facades")
    assert site.ranges == []
    assert content_of(tmp_path) == FILES


def test_a_disk_that_is_too_small(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site.files["/pix2pix/datasets/facades.tar.gz"] = tar_of(FILES)
    usage = transfer.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    err = expect_error(site, tmp_path, "facades", capsys=capsys)
    assert f"{tmp_path}: the set needs 0.0 GB" in err
    assert "--root" in err


def test_a_root_that_is_a_file(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_text("")
    err = expect_error(site, tmp_path / "data", "facades", capsys=capsys)
    assert str(tmp_path / "data") in err
    assert "--root" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["facade"], "there is no set called 'facade'; did you mean facades?"),
        (["horse2zebras"], "there is no set called 'horse2zebras'; did you mean horse2zebra?"),
        (["qqq", "--family", "pix2pix"], "choose from facades, maps, edges2shoes, edges2handbags, night2day"),
        (["cityscapes"], "https://www.cityscapes-dataset.com"),
    ],
)
def test_an_unknown_set(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in expect_error(site, tmp_path, *arguments, capsys=capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["facades", "--mirror", "ftp://host"], ["facades", "--family", "pixpix"]])
def test_a_wrong_command_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        download.main(arguments)
    assert stopped.value.code == 2
    assert "usage: patchlight-download" in capsys.readouterr().err


def test_list_names_every_set(capsys: pytest.CaptureFixture[str]) -> None:
    download.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[one.name, one.family] for one in download.SETS]
    assert lines[0] == "facades                 pix2pix   photo | label map of a building's front"


def test_addresses() -> None:
    url = download.find_set("monet2photo", None).url("https://host/")
    assert url == "https://host/cyclegan/datasets/monet2photo.zip"
    with pytest.raises(DataError, match="no cyclegan set called 'edges2shoes'"):
        download.find_set("edges2shoes", "cyclegan")
