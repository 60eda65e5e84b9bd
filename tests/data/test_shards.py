"""Sets in shards: written, read in place and fetched, with the same images in the same order everywhere."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from commands import Typed
from object_server import ObjectServer, serving
from patchlight.data import EpochSampler, ImageDataModule
from patchlight.data.ordering import Blocks, block_order
from patchlight.data.sources import Folders, Manifest, Shards
from patchlight.data.sources.shards import cache as shard_cache
from patchlight.data.sources.shards import fetch_object, location, records
from patchlight.data.sources.shards import source as shard_source
from patchlight.data.sources.shards.encoding import decode, encode_exactly, is_equal
from patchlight.data.sources.shards.index import read_index
from patchlight.data.sources.shards.location import Location
from patchlight.data.sources.shards.records import ShardReader
from patchlight.errors import DataError
from patchlight.inference.packed import find_packed

N = 30


def write_set(root: Path) -> Path:
    """Side-by-side pairs, the same in two folders, and a manifest of them with a class."""
    rng = np.random.default_rng(0)
    (root / "side" / "train").mkdir(parents=True)
    lines = ["a,b,split,label"]
    for i in range(N):
        pair = Image.fromarray(rng.integers(0, 256, (24, 48, 3), dtype=np.uint8))
        pair.save(root / "side" / "train" / f"{i:02d}.{'png' if i % 2 else 'jpg'}")
        for domain, box in (("A", (0, 0, 24, 24)), ("B", (24, 0, 48, 24))):
            path = root / "two" / f"train{domain}" / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pair.crop(box).save(path)
        lines.append(f"two/trainA/{i:02d}.png,two/trainB/{i:02d}.png,train,{i % 3}")
    (root / "set.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("sets"))


@pytest.fixture
def sharded(typed: Typed, sets: Path, tmp_path: Path) -> Path:
    """The side-by-side set in shards of about four pairs."""
    outcome = typed("shard", f"data={sets / 'side'}", "output=set", "shard_mb=0.012", "val_size=0")
    assert outcome.status == 0, outcome.err
    return tmp_path / "set"


@pytest.fixture
def server(sharded: Path, tmp_path: Path) -> Iterator[ObjectServer]:
    with serving(tmp_path) as found:
        yield found


def remote(server: ObjectServer, tmp_path: Path, **settings: Any) -> Shards:
    given = {"window": 2, "cache_dir": tmp_path / "cache", "cache_gb": 0.5, "retry_s": 5.0}
    return Shards(f"{server}/set", **{**given, **settings})


def module(source: Any, pairing: Any = "paired", workers: int = 0, **settings: Any) -> ImageDataModule:
    data = ImageDataModule(
        pairing=pairing, source=source, num_workers=workers, load_size=20, image_size=16, batch_size=2, val_size=0,
        cache=0, seed=3, **settings,
    )  # fmt: skip
    data.setup()
    return data


def epoch(data: ImageDataModule, number: int = 0, after: int = 0) -> list[tuple[str, bytes]]:
    """The keys of an epoch's images, with their pixels."""
    data.begin_at(number, after)
    return [
        (path, image.numpy().tobytes())
        for batch in data.train_dataloader()
        for path, image in zip(batch["A_path"], torch.cat([batch["A"], batch["B"]], dim=3), strict=True)
    ]


@pytest.mark.parametrize("name", ["side", "two", "set.csv"])
@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_what_is_written_is_read_to_the_bit(
    name: str, pairing: Any, typed: Typed, sets: Path, tmp_path: Path
) -> None:  # fmt: skip
    root = sets / name
    command = ("shard", f"data={root}", "output=out", f"pairing={pairing}", "shard_mb=0.02", "shuffle=false", "seed=3")
    outcome = typed(*command)
    assert outcome.status == 0, outcome.err
    ours = Shards(tmp_path / "out", pairing)
    theirs = Manifest(root, pairing) if name == "set.csv" else Folders(root, pairing)
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert [part["split"] for part in index["parts"]].count("val") == (
        1 if pairing == "paired" or name == "side" else 2
    )
    assert len({part["holds"] for part in index["parts"]} & {"pairs", "side_by_side", "A"}) == 1
    assert len(index["parts"][0]["shards"]) > 1
    # In order, beside the images that were cut off for validation.
    found, expected = ours(split="train"), theirs(split="train")
    names = (tmp_path / "out" / "names.csv").read_text().splitlines()
    sources = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    for domain, (own, other) in enumerate(sources):
        kept = [row.split(",")[1] for row in names if row.startswith(("train-", f"train{'AB'[domain]}-"))]
        assert len(own) == len(kept) == N - 3
        if isinstance(other, tuple):  # two sources of pairs
            by_key = {source.key(i): source.read(i) for source in other for i in range(len(source))}
            partners = [key.replace("trainA", "trainB") for key in kept]
            expected_pictures = [(by_key[key], by_key[partner]) for key, partner in zip(kept, partners, strict=True)]
            assert all(
                is_equal(x, y)
                for i, pair in enumerate(expected_pictures)
                for x, y in zip(own.read(i), pair, strict=True)
            )
            if name == "set.csv":
                assert [own.conditions(i) for i in range(len(own))] == [{"label": int(key[-6:-4]) % 3} for key in kept]
        else:
            by_key = {other.key(i): other.read(i) for i in range(len(other))}
            for i, key in enumerate(kept):
                pictures = own.read(i), by_key[key]
                pairs = zip(*pictures, strict=True) if isinstance(pictures[0], tuple) else [pictures]
                assert all(is_equal(x, y) for x, y in pairs), key
    assert typed(*command).status == 1, "the folder is not empty"
    prints = [module(Shards(tmp_path / "out", pairing), pairing, max_train=n).fingerprint("train") for n in (9, 9, 8)]
    assert prints[0] == prints[1] != prints[2]


def test_other_images_are_kept_exactly_or_refused(typed: Typed, sets: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    levels = rng.integers(0, 256, (5, 7, 4), dtype=np.uint8)
    pictures: list[Any] = [
        Image.fromarray(levels[:, :, 0]).convert(mode) for mode in ("1", "L", "P", "LA", "F", "CMYK")
    ]
    pictures += [levels, rng.random((4, 5, 2)).astype(np.float32), rng.integers(0, 65536, (4, 5), dtype=np.uint16)]
    pictures.append(Image.fromarray(rng.integers(0, 65536, (4, 5), dtype=np.uint16)))
    for picture in pictures:
        assert is_equal(decode(encode_exactly(picture, "x"), "x"), picture), picture
    outcome = typed("shard", f"data={sets / 'side'}", "output=lossy", "format=jpeg", "quality=60")
    assert outcome.status == 0, outcome.err
    lossy = Shards(tmp_path / "lossy")(split="train")
    assert not isinstance(lossy, tuple)
    assert lossy.encoded(0)[0].startswith(b"\xff\xd8")
    assert len(lossy.encoded(0)) == 2
    assert sum(len(content) for content in lossy.encoded(0)) < (sets / "side/train/01.png").stat().st_size


def test_the_order_needs_few_shards_at_a_time_and_leaves_nothing_out() -> None:
    ends = np.cumsum([0, 5, 3, 8, 1, 6, 4])
    blocks = Blocks(ends, window=2)
    order = block_order(blocks, 1, 0)
    places = [order(i) for i in range(27)]
    assert sorted(places) == list(range(27))
    assert [order(i) for i in (20, 3)] == [places[20], places[3]], "any place, in any order"
    shards = np.searchsorted(ends, places, side="right") - 1
    seen = list(dict.fromkeys(shards.tolist()))
    begin = 0
    for window in (seen[i : i + 2] for i in range(0, 6, 2)):
        end = begin + sum(int(np.diff(ends)[shard]) for shard in window)
        assert set(shards[begin:end].tolist()) == set(window)
        begin = end
    other = [block_order(blocks, 1, 1)(i) for i in range(27)]
    assert other != places
    part = blocks.within([0, 1, 4, 5, 20])
    assert part.ends.tolist() == [0, 3, 4, 5]
    assert blocks.within(range(6, 22)).ends.tolist() == [0, 2, 10, 11, 16]


def test_ranks_and_a_resume_go_through_the_same_order() -> None:
    blocks = (Blocks(np.arange(0, 41, 5), 3), Blocks(np.arange(0, 31, 10), 2))
    for paired, length in ((True, 40), (True, 80), (False, 47)):
        settings: dict[str, Any] = {"seed": 4, "shuffle": True, "epoch": 2, "blocks": blocks, "paired": paired}
        whole = list(EpochSampler(length, **settings))
        halves = [list(EpochSampler(length, rank=rank, world_size=2, **settings)) for rank in range(2)]
        assert [key for pair in zip(*halves, strict=True) for key in pair][:length] == whole
        assert list(EpochSampler(length, rank=1, world_size=2, skip=7, **settings)) == halves[1][7:]
        assert sorted(key.item for key in whole) == list(range(length))
        if not paired:
            met = [key.images for key in whole if key.images is not None]
            assert sorted(a for a, _ in met[:40]) == list(range(40))
            assert sorted(b for _, b in met[:30]) == list(range(30))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_the_same_images_from_a_disk_and_a_server_by_any_number_of_workers(
    server: ObjectServer, sharded: Path, tmp_path: Path
) -> None:  # fmt: skip
    def pixels(found: list[tuple[str, bytes]]) -> list[bytes]:
        return [pixels for _, pixels in found]

    here = module(Shards(sharded, window=2))
    whole = epoch(here)
    assert len({path for path, _ in whole}) == N
    assert sorted(pixels(epoch(here, 1))) != sorted(pixels(whole))
    for workers in (0, 3):
        there = module(remote(server, tmp_path), workers=workers)
        fetched = epoch(there)
        assert pixels(fetched) == pixels(whole)
        assert fetched[0][0].startswith(f"{server}/set/train-0000")
        assert pixels(epoch(there, 0, after=14)) == pixels(whole)[14:]
    shards = len(list(sharded.glob("*.array_record")))
    assert shards > 4
    assert sum(server.asked[path.name] for path in sharded.glob("*.array_record")) == shards, "each is fetched once"
    unpaired = [epoch(module(Shards(sharded, "unpaired", window=2), "unpaired", workers=n)) for n in (0, 2)]
    assert unpaired[0] == unpaired[1]


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where the cache would wait for room, which nothing else holds."""

    def sleep(_: float) -> None:
        raise AssertionError("the cache waits")

    monkeypatch.setattr(shard_cache, "time", SimpleNamespace(sleep=sleep))


def test_an_unpaired_training_needs_two_windows_of_pairs(server: ObjectServer, sharded: Path, tmp_path: Path) -> None:
    largest = max(path.stat().st_size for path in sharded.glob("*.array_record"))
    enough, too_little = 6 * largest / 2**30, (6 * largest - 1) / 2**30
    assert len(remote(server, tmp_path, pairing="unpaired", cache_gb=enough).index.parts) == 1
    with pytest.raises(DataError, match=r"is too small for 2 shards at a time of each domain: give at least"):
        _ = remote(server, tmp_path, pairing="unpaired", cache_gb=too_little).index


@pytest.mark.usefixtures("no_waiting")
def test_the_cache_counts_its_own_files_alone(server: ObjectServer, sharded: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    foreign = [cache / name for name in ("film.mp4", "film.part", "film.shard")]
    for path in foreign:
        path.write_bytes(bytes(1 << 20))
    limit = 3 * max(path.stat().st_size for path in sharded.glob("*.array_record"))
    assert limit < 1 << 20
    assert len(epoch(module(remote(server, tmp_path, cache_gb=limit / 2**30)))) == N
    assert all(path.stat().st_size == 1 << 20 for path in foreign)


@pytest.mark.usefixtures("no_waiting")
def test_a_shard_that_never_fits_is_one_message(server: ObjectServer, sharded: Path, tmp_path: Path) -> None:
    source = remote(server, tmp_path)
    shard = source.index.parts[0].shards[0]
    assert source.cache is not None
    source.cache.limit = shard.bytes - 1
    with pytest.raises(DataError, match=rf"^data\.source\.cache_gb=.* is too small for {shard.file}: give at least "):
        source.cache.get(shard)


def test_the_room_stays_reserved_while_a_shard_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = tmp_path / "x.part"
    part.write_bytes(bytes(1000))
    sizes = []

    def chunks() -> Iterator[bytes]:
        for _ in range(3):
            sizes.append(part.stat().st_size)
            yield b"x" * 100

    # Not the library itself, whose threads this process must not have.
    answer = SimpleNamespace(stream=lambda **_: chunks())
    monkeypatch.setitem(sys.modules, "obstore", SimpleNamespace(get=lambda *_: answer))
    monkeypatch.setitem(sys.modules, "obstore.store", SimpleNamespace(from_url=lambda *_, **__: None))
    assert fetch_object.fetch("s3://bucket", "x", part, 1000) == {}
    assert sizes == [1000, 1000, 1000]
    assert part.read_bytes() == b"x" * 300


def test_threads_share_a_reader(sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They read one after the other, though more shards are in use than are kept open; it can still be pickled."""
    monkeypatch.setattr(records, "OPEN", 1)
    found = Shards(sharded)(split="train")
    assert not isinstance(found, tuple)
    whole = [found.encoded(i) for i in range(N)]
    inside, most = 0, 0
    read = ShardReader._read

    def slowly(self: ShardReader, shard: int, wanted: list[int]) -> list[bytes]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.002)
        try:
            return read(self, shard, wanted)
        finally:
            inside -= 1

    monkeypatch.setattr(ShardReader, "_read", slowly)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(found.encoded, range(N))) == whole
    assert most == 1
    again = pickle.loads(pickle.dumps(found))
    assert again.encoded(N - 1) == whole[-1]


def test_the_cache_keeps_its_bound(server: ObjectServer, sharded: Path, tmp_path: Path) -> None:
    sizes = [path.stat().st_size for path in sharded.glob("*.array_record")]
    limit = 3 * max(sizes)
    source = remote(server, tmp_path, cache_gb=limit / 2**30)
    largest, data = 0, module(source)
    for _ in data.train_dataloader():
        largest = max(largest, sum(path.stat().st_size for path in (tmp_path / "cache").iterdir() if path.is_file()))
    assert limit / 2 < largest <= limit < sum(sizes)
    with pytest.raises(
        DataError, match=r"data\.source\.cache_gb=.* is too small for 2 shards at a time: give at least"
    ):
        module(remote(server, tmp_path, cache_gb=(limit - 1) / 2**30))


def test_what_fails_is_tried_again_and_then_told_by_name(
    server: ObjectServer, sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(location, "FIRST_PAUSE_S", 0.05)
    server.only = ".array_record"
    server.wrong = [503, "cut", "flip"]
    first = remote(server, tmp_path)(split="train")
    assert not isinstance(first, tuple)
    first.read(0)
    assert server.asked["train-00000.array_record"] == 4
    last = len(first) - 1
    name = first.key(last).rpartition("#")[0]
    for wrong, reason in ((503, "the server answers 503"), ("cut", "the transfer broke off"), ("flip", "its checksum")):
        server.wrong = [wrong] * 99
        found = remote(server, tmp_path, retry_s=0.3)(split="train")
        assert not isinstance(found, tuple)
        with pytest.raises(DataError) as told:
            found.read(last)
        assert str(told.value).startswith(f"{name} cannot be fetched: ")
        assert reason in str(told.value)
        assert "data.source.retry_s sets how long" in str(told.value)
    server.wrong = []
    (sharded / name.rpartition("/")[2]).unlink()
    with pytest.raises(DataError, match=r"cannot be fetched: it is not there$"):
        found.read(last)
    with pytest.raises(DataError, match=r"train-\d+\.array_record is missing, though index\.json names it"):
        Shards(sharded)(split="train").read(last)  # type: ignore[union-attr]
    assert not list((tmp_path / "cache").glob("*.part"))


def test_a_damaged_shard_is_found_and_a_damaged_copy_fetched_anew(
    server: ObjectServer, sharded: Path, tmp_path: Path
) -> None:  # fmt: skip
    found = remote(server, tmp_path)(split="train")
    assert not isinstance(found, tuple)
    good = found.encoded(0)
    (copy,) = (tmp_path / "cache").glob("*.shard")
    for damage in (lambda data: data[:3000] + bytes([data[3000] ^ 8]) + data[3001:], lambda data: data[:-7]):
        copy.write_bytes(damage(copy.read_bytes()))
        again = remote(server, tmp_path)(split="train")
        assert not isinstance(again, tuple)
        assert again.encoded(0) == good
    assert server.asked["train-00000.array_record"] == 3
    shard = sharded / "train-00000.array_record"
    shard.write_bytes(shard.read_bytes()[:3000] + b"\0" + shard.read_bytes()[3001:])
    local = Shards(sharded)(split="train")
    assert not isinstance(local, tuple)
    with pytest.raises(DataError, match=r"train-00000\.array_record is damaged \("):
        local.read(0)


S3 = {
    "AWS_ENDPOINT_URL": "SERVER", "AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "hidden",
    "AWS_REGION": "us-east-1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("scheme", "environment", "authorization"),
    [
        ("s3", S3, "Credential=someone/"),
        ("gs", {"GOOGLE_BASE_URL": "SERVER", "GOOGLE_BEARER_TOKEN": "hidden"}, "Bearer hidden"),
        ("gs", {"GOOGLE_BASE_URL": "SERVER", "GOOGLE_SKIP_SIGNATURE": "true"}, None),
    ],
)
def test_an_object_store_is_asked_with_credentials_of_the_environment(
    scheme: str, environment: dict[str, str], authorization: str | None, server: ObjectServer, sharded: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copytree(sharded, tmp_path / "bucket" / "deep" / "set")
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("SERVER", str(server)))
    source = Shards(f"{scheme}://bucket/deep/set", cache_dir=tmp_path / "cache", retry_s=0)
    here, there = module(Shards(sharded, window=8)), module(source)
    assert [pixels for _, pixels in epoch(there)] == [pixels for _, pixels in epoch(here)]
    found = [headers.get("authorization") for headers in server.headers]
    assert len(found) > 2
    assert all(each is None if authorization is None else authorization in str(each) for each in found)
    assert there.describe()["root"] == f"{scheme}://bucket/deep/set"


def test_the_doctor_and_translate_see_the_images_of_shards(
    typed: Typed, sharded: Path, sets: Path, tmp_path: Path
) -> None:  # fmt: skip
    found = find_packed(sharded, "B")
    assert found is not None
    assert len(found[1]) == N
    path, packed = found[1][0]
    assert path == sharded / "train" / "row-1.png"
    assert packed is not None
    names = dict(line.split(",") for line in (sharded / "names.csv").read_text().splitlines())
    whole = Image.open(names["train-00000.array_record#0"])
    with packed.as_file(path.name) as file, Image.open(file) as half:
        assert np.array_equal(np.asarray(half), np.asarray(whole)[:, 24:])
    assert typed("doctor", f"data={sharded}", "output=report").status == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["images"]["train"] == {"A": N, "B": N}


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("https://me:secret@host/set", r"data\.root has credentials, .* in its address of host"),
        ("https://host/set?token=secret", r"data\.root has credentials, a query or a fragment"),
        ("ftp://host/set", r"data\.root=ftp://\.\.\. is of no known kind: give a folder, or one of s3://"),
        ("s3:///set", r"names no bucket or server"),
        ("s3://AKIA:ab/secret@bucket/x", r"data\.root has credentials in its address, or a port"),
        ("s3://AKIA:12/secret@bucket/x", r"data\.root has credentials in its address, or a port"),
        ("s3://AKIA:ab/secret", r"data\.root has credentials in its address, or a port"),
        ("s3://AKIA:ab?secret@bucket/x", r"data\.root has credentials in its address, or a port"),
        ("s3://me@AKIA:ab/secret@bucket", r"data\.root has credentials in its address, or a port"),
        ("s3://AKIA:[secret@bucket/x", r"data\.root is an address that cannot be read"),
    ],
)
def test_addresses_that_are_refused(root: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as told:
        Location(root, 0)
    assert "secret" not in str(told.value)
    assert "akia" not in str(told.value).lower()


@pytest.mark.parametrize("root", ["https://host:80/set", "http://[::1]:9000/set", "http://[::1]/set", "s3://b/a@b"])
def test_addresses_with_a_port_or_an_at(root: str) -> None:
    assert Location(root, 0).is_remote


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index.update(format="patchlight shards 2"), "format"),
        (lambda index: index["parts"][0]["shards"][0].update(file="../x.array_record"), "file"),
        (lambda index: index["parts"][0]["shards"][0].update(images=0), "images"),
        (lambda index: index["parts"][0]["shards"][0].update(images=2**31 + 1), "less than or equal to"),
        (lambda index: index["parts"][0]["shards"][0].update(images=2**31), "more images than bytes"),
        (lambda index: index["parts"][0]["kinds"][0]["headers"][0].update(width=0), "has no width or no height"),
        (lambda index: index["parts"][0]["kinds"][0]["headers"][1].update(height=-1), "has no width or no height"),
        (
            lambda index: index["parts"].append(dict(index["parts"][0], holds="A")),
            "contradicts itself: the train split",
        ),
        (lambda index: index["parts"][0].update(kinds=[]), "the kinds of image of train are not all its images"),
        (lambda index: index["parts"][0]["kinds"][0].update(first=99), "beyond its end"),
        (lambda index: index["parts"][0].update(holds="A", split="val"), "val split has shards of A"),
    ],
)
def test_an_index_that_is_none(change: Any, message: str, sharded: Path) -> None:
    index = json.loads((sharded / "index.json").read_text())
    assert read_index(json.dumps(index).encode(), "it").parts_of("train")[0].images == N
    change(index)
    with pytest.raises(DataError, match=message):
        read_index(json.dumps(index).encode(), "it")


def test_a_local_index_has_the_size_limit_of_a_remote_one(sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (sharded / "index.json").stat().st_size
    monkeypatch.setattr(shard_source, "MAX_INDEX", size)
    assert Shards(sharded).index.parts
    monkeypatch.setattr(shard_source, "MAX_INDEX", size - 1)
    with pytest.raises(DataError, match=r"index\.json is larger than the \d+ bytes that it may have"):
        _ = Shards(sharded).index
