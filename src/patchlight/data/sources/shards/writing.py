"""Writing a set in shards."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from patchlight.data.image_files import Header, Picture
from patchlight.data.sources.base import Condition, ImageRef, Images, ImageSource, PairSource, Split
from patchlight.data.sources.domains import Domains
from patchlight.data.sources.encoded import halves, header_halves
from patchlight.data.sources.shards.encoding import Format, content_header, decode, encode_as, encode_exactly, is_equal
from patchlight.data.sources.shards.index import INDEX, Holds, Kind, Part, Shard, index_content
from patchlight.data.sources.shards.location import digest
from patchlight.data.sources.shards.records import array_record
from patchlight.errors import DataError
from patchlight.system.files import write_json
from patchlight.system.image_file import one_message

RECORDS = "group_size:1,uncompressed"
"""Each record can be read alone, and has a checksum of its own; images hardly compress further."""

NAMES = "names.csv"


@dataclass(frozen=True)
class Entry:
    """What is written for an image or a pair: its records, and what the index and the list of names tell of it."""

    name: str
    images: tuple[bytes, ...]
    headers: tuple[Header, ...]
    conditions: dict[str, Condition]


@dataclass(frozen=True)
class ShardWriter:
    """Writes sets into a new folder: shards of about `shard_bytes`, their index, and a list of the images' names.

    Files are kept as they are where `format` is keep; what is no file of its own becomes one without loss. Training
    images are shuffled by `seed`, so that each shard has some of everything; None leaves them in their order.
    """

    folder: Path
    shard_bytes: int = 64 << 20
    format: Format = "keep"
    quality: int = 95
    seed: int | None = 0
    workers: int = 1

    def write(self, splits: dict[Split, Domains], paired: bool, advance: Callable[[], None]) -> tuple[Part, ...]:
        """Write all splits; `advance` is called after each image or pair. The index comes last, when all is there.

        Raises:
            DataError: an image cannot be read or kept, or the disk is full.
        """
        parts: list[Part] = []
        try:
            with (self.folder / NAMES).open("w", newline="", encoding="utf-8") as names:
                for split, domains in splits.items():
                    for holds, entries in _parts(domains, paired, self.format).items():
                        parts.append(self._part(split, holds, entries, names, advance))
            write_json(self.folder / INDEX, index_content(parts))
        except OSError as error:
            raise DataError(f"output={self.folder} cannot be written ({error.strerror or error})") from None
        return tuple(parts)

    def _part(
        self, split: Split, holds: Holds, refs: Refs, names: TextIO, advance: Callable[[], None]
    ) -> Part:  # fmt: skip
        order: Sequence[int] | NDArray[np.int64] = range(len(refs))
        if split == "train" and self.seed is not None:
            order = np.random.default_rng([self.seed, len(refs)]).permutation(len(refs))
        stem = split if holds in ("pairs", "side_by_side") else split + holds
        with_conditions = any(ref.source.conditions(ref.index) for ref in refs[int(order[0])])
        part = _PartWriter(self.folder, stem, self.shard_bytes, with_conditions, names)
        for entry in self._prepared((refs[int(i)] for i in order), holds):
            part.add(entry)
            advance()
        part.close()
        return Part(split, holds, tuple(part.shards), tuple(part.kinds.values()), with_conditions)

    def _prepared(self, refs: Iterable[tuple[ImageRef, ...]], holds: Holds) -> Iterator[Entry]:
        """The entries in their order, some of them prepared ahead by threads."""
        waiting: deque[Future[Entry]] = deque()
        with ThreadPoolExecutor(self.workers) as pool:
            for each in refs:
                waiting.append(pool.submit(self._entry, each, holds))
                if len(waiting) > 4 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _entry(self, refs: tuple[ImageRef, ...], holds: Holds) -> Entry:
        contents: list[bytes] = []
        conditions: dict[str, Condition] = {}
        for source, index in dict.fromkeys(ref.record for ref in refs):
            with one_message(source.key(index)):
                contents += self._contents(source, index, holds)
                conditions = {**source.conditions(index), **conditions}
        name = refs[0].key
        headers = tuple(content_header(content, name) for content in contents)
        if holds == "side_by_side":
            headers = header_halves(name, headers[0])
        return Entry(name, tuple(contents), headers, conditions)

    def _contents(self, source: ImageSource | PairSource, index: int, holds: Holds) -> Sequence[bytes]:
        """The records of an image or pair, from which the same images come back unless `format` loses some of them."""
        key = source.key(index)
        pictures = source.read(index) if isinstance(source, PairSource) else (source.read(index),)
        if self.format in ("webp", "jpeg"):
            return [encode_as(picture, self.format, self.quality, key) for picture in pictures]
        files = source.encoded(index) if self.format == "keep" else None
        if files is not None:
            back: Sequence[Picture] = [decode(file, key) for file in files]
            if holds == "side_by_side":
                back = halves(key, back[0])
            # The source may have done more than decoding, as where it reads some pages of a file.
            if all(is_equal(one, other) for one, other in zip(back, pictures, strict=True)):
                return files
            if holds == "side_by_side":
                raise DataError(f"{key} cannot be kept as the file that it is: use format=png")
        return [encode_exactly(picture, key) for picture in pictures]


class _PartWriter:
    """Writes the entries of a part one after the other, and begins a new shard where one is full."""

    def __init__(self, folder: Path, stem: str, shard_bytes: int, conditions: bool, names: TextIO) -> None:
        self.folder, self.stem, self.shard_bytes, self.conditions = folder, stem, shard_bytes, conditions
        self.shards: list[Shard] = []
        self.kinds: dict[tuple[Header, ...], Kind] = {}
        self._names = csv.writer(names)
        self._open: Any = None
        self._images = self._bytes = self._total = 0

    def add(self, entry: Entry) -> None:
        """Write an entry."""
        if self._open is None:
            self._open = array_record().ArrayRecordWriter(str(self._path), RECORDS)
        extra = [json.dumps(entry.conditions).encode()] if self.conditions else []
        for record in (*entry.images, *extra):
            self._open.write(record)
            self._bytes += len(record)
        self._names.writerow([f"{self._path.name}#{self._images}", entry.name])
        known = self.kinds.get(entry.headers)
        first, images = (known.first, known.images) if known else (self._total, 0)
        self.kinds[entry.headers] = Kind(entry.headers, first, images + 1)
        self._images += 1
        self._total += 1
        if self._bytes >= self.shard_bytes:
            self.close()

    def close(self) -> None:
        """Finish the shard that has been begun."""
        if self._open is None:
            return
        self._open.close()
        path = self._path
        self.shards.append(Shard(path.name, self._images, path.stat().st_size, digest(path)))
        self._open, self._images, self._bytes = None, 0, 0

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.stem}-{len(self.shards):05d}.array_record"


def entries(domains: Domains, paired: bool) -> int:
    """How many pairs or images are written of a split."""
    as_pairs = paired or isinstance(domains.a.source, PairSource)
    return len(domains.a) if as_pairs else len(domains.a) + len(domains.b)


Refs = Sequence[tuple[ImageRef, ...]]


class _Zipped(Sequence[tuple[ImageRef, ...]]):
    """The entries of a part: images that belong together, of which references are made when they are asked for."""

    def __init__(self, *images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images[0])

    def __getitem__(self, place: int) -> tuple[ImageRef, ...]:  # type: ignore[override]  # no slices
        return tuple(images[place] for images in self.images)


def _parts(domains: Domains, paired: bool, format: Format) -> dict[Holds, Refs]:
    """What is written of a split: its pairs, or each of its domains."""
    if not len(domains.a) and not len(domains.b):
        return {}
    source = domains.a.source
    if not paired and not isinstance(source, PairSource):
        return {"A": _Zipped(domains.a), "B": _Zipped(domains.b)}
    pairs = _Zipped(domains.a, domains.b)
    files = source.encoded(0) if format == "keep" and isinstance(source, PairSource) else None
    return {"side_by_side" if files is not None and len(files) == 1 else "pairs": pairs}
