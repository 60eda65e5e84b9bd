"""Sets in shards, on a disk or in an object store, of which only those in use are on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from patchlight.data.decoding import Decoding
from patchlight.data.image_files import Header, Picture
from patchlight.data.ordering import Blocks
from patchlight.data.sources.base import Condition, FileSet, Found, ImageSource, Pairing, PairSource, Split, StoredSet
from patchlight.data.sources.encoded import EncodedImages, halves, header_halves
from patchlight.data.sources.shards.cache import ShardCache
from patchlight.data.sources.shards.encoding import content_header, decode, encode_half
from patchlight.data.sources.shards.index import INDEX, Index, Part, read_index
from patchlight.data.sources.shards.location import Location, read_small
from patchlight.data.sources.shards.records import ShardReader, array_record
from patchlight.errors import DataError

MAX_INDEX = 1 << 30
"""Bytes of an index; what is larger is none."""

DOMAINS: tuple[Literal["A", "B"], ...] = ("A", "B")


class _Sharded:
    """What sources of both forms have in common: everything that is known from the index."""

    reader: ShardReader
    window: int

    def __init__(self, reader: ShardReader, window: int, decodings: tuple[Decoding, Decoding]) -> None:
        self.reader, self.window, self.decodings = reader, window, decodings
        self._headers = {kind.first: kind.headers for kind in reader.part.kinds}

    def __len__(self) -> int:
        return int(self.reader.ends[-1])

    def key(self, index: int) -> str:
        return self.reader.key(index)

    def digest(self) -> str:
        return "".join(shard.sha256 for shard in self.reader.part.shards)

    def blocks(self) -> Blocks:
        return Blocks(self.reader.ends, self.window)

    def representatives(self) -> Sequence[int]:
        return sorted(self._headers)

    def conditions(self, index: int) -> Mapping[str, Condition]:
        if not self.reader.part.conditions:
            return {}
        found: dict[str, Condition] = json.loads(self.reader.read(index)[-1])
        return found

    def encoded(self, index: int) -> Sequence[bytes]:
        """The images of an entry as the files that they are."""
        return self.reader.read(index)[: self.reader.images]


class ShardedImages(_Sharded, ImageSource):
    """The images of one domain in shards."""

    def read(self, index: int) -> Picture:
        return decode(self.encoded(index)[0], self.key(index), self._decoding)

    def header(self, index: int) -> Header:
        known = self._headers.get(index)
        if known and not self._decoding.values:  # which the index tells as images of 8 bits
            return known[0]
        return content_header(self.encoded(index)[0], self.key(index), self._decoding)

    @property
    def _decoding(self) -> Decoding:
        return self.decodings[self.reader.part.holds == "B"]


class ShardedPairs(_Sharded, PairSource):
    """Pairs in shards, as two images each or side by side in one."""

    def read(self, index: int) -> tuple[Picture, Picture]:
        files, key, (of_a, of_b) = self.encoded(index), self.key(index), self.decodings
        if len(files) == 2:
            return decode(files[0], key, of_a), decode(files[1], key, of_b)
        return halves(key, decode(files[0], key, of_a.of_halves(of_b)))

    def header(self, index: int) -> tuple[Header, Header]:
        known, (of_a, of_b) = self._headers.get(index), self.decodings
        if known and not of_a.values and not of_b.values:  # which the index tells as images of 8 bits
            return known[0], known[1]
        files, key = self.encoded(index), self.key(index)
        if len(files) == 2:
            return content_header(files[0], key, of_a), content_header(files[1], key, of_b)
        return header_halves(key, content_header(files[0], key, of_a.of_halves(of_b)))


class DomainFiles(EncodedImages):
    """The images of one domain as the contents of files, for what works on files."""

    def __init__(self, source: ShardedImages | ShardedPairs, side: int) -> None:
        self.source, self.side = source, side
        self.decoding = replace(source.decodings[side], arrays=True)

    def __len__(self) -> int:
        return len(self.source)

    def key(self, index: int) -> str:
        return self.source.key(index)

    def content(self, index: int) -> bytes:
        files = self.source.encoded(index)
        if isinstance(self.source, ShardedImages):
            return files[0]
        if len(files) == 2:
            return files[self.side]
        of_a, of_b = self.source.decodings
        return encode_half(files[0], self.side, "it", of_a.of_halves(of_b))


class Shards(StoredSet, FileSet):
    """A set that `patchlight-shard` wrote: `root` is its folder, or its address s3://, gs://, http:// or https://.

    What is fetched is kept in `cache_dir`, which all processes of a machine and all sets share, up to `cache_gb` GiB;
    the sets of a folder are read in place. `window` shards of a split are needed at a time: an epoch has its images in
    an order that is shuffled over all shards, and within each window of them. `retry_s` seconds are spent on a file
    that cannot be fetched before a training ends.
    """

    def __init__(
        self, root: str | Path, pairing: Pairing = "paired", window: PositiveInt = 8,
        cache_dir: str | Path | None = None, cache_gb: PositiveFloat = 16.0, retry_s: NonNegativeFloat = 300.0,
    ) -> None:  # fmt: skip
        super().__init__(root)
        self.location = Location(str(root), retry_s)
        self.pairing, self.window = pairing, window
        folder = Path(cache_dir).expanduser() if cache_dir is not None else _user_cache()
        self.cache = ShardCache(folder, int(cache_gb * 2**30), self.location) if self.location.is_remote else None
        self._index: Index | None = None

    @property
    def place(self) -> str:
        return self.location.root if self.location.is_remote else super().place

    @property
    def index(self) -> Index:
        """What the set holds, which is read once.

        Raises:
            DataError: it cannot be read, or the cache is too small for it.
        """
        if self._index is None:
            array_record()
            if self.cache is not None:
                self.cache.prepare()
            content = read_small(self.location, INDEX, Path(gettempdir()), MAX_INDEX)
            index = read_index(content, self.location.path_of(INDEX))
            self._require_room(index)
            self._index = index
        return self._index

    def __call__(self, *, split: Split) -> Found:
        parts = {part.holds: part for part in self.index.parts_of(split)}
        for holds in ("pairs", "side_by_side"):
            if holds in parts:
                return ShardedPairs(self._reader(parts[holds]), self.window, self.decodings)
        if parts and self.pairing == "paired":
            raise DataError(
                f"{self.location.path_of(INDEX)} has the {split} images of two domains without pairs: use "
                f"data=unpaired, or write the shards with pairing=paired"
            )
        a, b = (
            ShardedImages(self._reader(parts.get(name, Part(split, name, (), ()))), self.window, self.decodings)
            for name in DOMAINS
        )
        return a, b

    def as_files(self, split: Split) -> tuple[DomainFiles, DomainFiles]:
        """The images of a split as files, those of A and of B."""
        found = self(split=split)
        a, b = found if isinstance(found, tuple) else (found, found)
        assert isinstance(a, ShardedImages | ShardedPairs)
        assert isinstance(b, ShardedImages | ShardedPairs)
        return DomainFiles(a, 0), DomainFiles(b, 1)

    def require_training_images(self) -> None:
        if not self.index.parts_of("train"):
            raise DataError(f"{self.location.path_of(INDEX)} has no train split")

    def _reader(self, part: Part) -> ShardReader:
        return ShardReader(part, self.location, self.cache)

    def _orders(self, part: Part) -> int:
        """In how many orders a training goes through a part at once: A and B of pairs have one each if unpaired."""
        return 2 if self.pairing == "unpaired" and part.holds in ("pairs", "side_by_side") else 1

    def _require_room(self, index: Index) -> None:
        """Raise a DataError unless the cache holds the windows of a split, and a shard that is being fetched."""
        if self.cache is None:
            return
        needed = max(
            (
                sum(
                    max((shard.bytes for shard in part.shards), default=0) * (self.window + 1) * self._orders(part)
                    for part in index.parts_of(split)
                )
                for split in {part.split for part in index.parts}
            ),
            default=0,
        )
        if needed > self.cache.limit:
            raise DataError(
                f"data.source.cache_gb={self.cache.limit / 2**30:g} is too small for {self.window} shards at a time"
                f"{' of each domain' if self.pairing == 'unpaired' else ''}: give at least {needed / 2**30:.3g}, or a "
                f"smaller data.source.window"
            )


def _user_cache() -> Path:
    """The folder for files that can be fetched again, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "patchlight" / "shards"
