"""The index of a sharded set, index.json: its shards with their checksums, and the kinds of image that are in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

from patchlight.data.image_files import Header
from patchlight.data.sources.base import Split
from patchlight.errors import DataError

INDEX = "index.json"

FORMAT: Literal["patchlight shards 1"] = "patchlight shards 1"
"""A later format has another number, which is refused by name."""

Holds = Literal["pairs", "side_by_side", "A", "B"]
"""What an entry of a shard is: both images of a pair, one image that holds both halves, or an image of one domain."""

MAX_IMAGES = 1 << 31
"""Entries of one shard."""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*\.array_record$", max_length=200)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of the set; `images` are its entries, a pair being one, and `sha256` is of the whole file."""

    file: FileName
    images: Annotated[int, Field(gt=0, le=MAX_IMAGES)]
    bytes: PositiveInt
    sha256: Digest


@dataclass(frozen=True, slots=True)
class Kind:
    """All entries whose headers are equal: their headers, two for pairs, and the first entry that has them."""

    headers: tuple[Header, ...]
    first: NonNegativeInt
    images: PositiveInt


@dataclass(frozen=True, slots=True)
class Part:
    """The shards of a split: of its pairs, or of one of its domains."""

    split: Split
    holds: Holds
    shards: tuple[Shard, ...]
    kinds: tuple[Kind, ...]
    conditions: bool = False
    """Whether each entry has one more record: what else belongs to its images, as JSON."""

    @property
    def images(self) -> int:
        """The number of entries."""
        return sum(shard.images for shard in self.shards)


@dataclass(frozen=True, slots=True)
class Index:
    """All parts of a set."""

    format: Literal["patchlight shards 1"]
    parts: tuple[Part, ...]

    def parts_of(self, split: Split) -> tuple[Part, ...]:
        """The parts of a split: one of pairs, one for each domain, or none."""
        return tuple(part for part in self.parts if part.split == split)


_INDEX = TypeAdapter(Index)


def index_content(parts: Sequence[Part]) -> dict[str, Any]:
    """The index of these parts, in plain types."""
    return asdict(Index(FORMAT, tuple(parts)))


def read_index(content: bytes, called: str) -> Index:
    """The index that a file holds, which messages call so.

    Raises:
        DataError: it is none of this format, or contradicts itself.
    """
    try:
        index = _INDEX.validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{called} is no index of shards that can be read: {place}: {first['msg']}") from None
    for split in {part.split for part in index.parts}:
        held = sorted(part.holds for part in index.parts_of(split))
        if held not in (["A", "B"], ["pairs"], ["side_by_side"]):
            raise DataError(f"{called} contradicts itself: the {split} split has shards of {', '.join(held)}")
    for part in index.parts:
        if any(shard.images > shard.bytes for shard in part.shards):
            raise DataError(f"{called} contradicts itself: a shard of {part.split} has more images than bytes")
        if any(min(header.width, header.height) < 1 for kind in part.kinds for header in kind.headers):
            raise DataError(f"{called} contradicts itself: an image of {part.split} has no width or no height")
        if sum(kind.images for kind in part.kinds) != part.images:
            raise DataError(f"{called} contradicts itself: the kinds of image of {part.split} are not all its images")
        if any(kind.first >= part.images for kind in part.kinds):
            raise DataError(f"{called} contradicts itself: a kind of image of {part.split} is beyond its end")
        if any(len(kind.headers) != (1 if part.holds in ("A", "B") else 2) for kind in part.kinds):
            raise DataError(f"{called} contradicts itself: an entry of {part.split} has the headers of another kind")
    return index
