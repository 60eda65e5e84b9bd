"""The interface of a source of images."""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Literal, Protocol, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from patchlight.data.decoding import COLOURS, Decoding
from patchlight.data.image_files import Header, Picture
from patchlight.data.ordering import Blocks

Split = Literal["train", "val", "test"]
SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Splits by the names that tables have for them."""

Pairing = Literal["paired", "unpaired"]
Direction = Literal["AtoB", "BtoA"]

Condition = int | float | str
"""A class id, a value, or a text that belongs to an image."""

P = TypeVar("P")
H = TypeVar("H")


class Source(ABC, Generic[P, H]):
    """Pictures and their headers by number, from 0 on: in files, in an archive, in memory.

    The order and the keys should be the same every time, or a training cannot be repeated or resumed to the same bits.
    Worker processes are forked from the training, or get a pickled copy: what processes cannot share, such as an open
    file, is opened at the first `read` and left out of `__getstate__`. Whatever `read` and `header` raise ends the
    training with one message that names the image by its key.
    """

    header_threads: ClassVar[int] = 1
    """How many threads may ask for headers at once."""

    in_order: ClassVar[bool] = False
    """Whether the images at the same place of two such sources are pairs, whatever their keys."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> P:
        """Decode: a Pillow image of any mode, or an array H W or H W C of uint8, uint16, or floats in [0, 1]."""

    @abstractmethod
    def header(self, index: int) -> H:
        """Size and channels without decoding: asked of every image before a training."""

    @abstractmethod
    def key(self, index: int) -> str:
        """The name, unique and the same every time: `A_path` or `B_path`, and what messages call the image."""

    def exact_header(self, index: int) -> H:
        """The header once more, where the first one would be refused, by a source whose `header` may be mistaken."""
        return self.header(index)

    def fingerprint(self, index: int) -> str:
        """What stands for the image in the fingerprint of a split: its key, or what tells its content."""
        return self.key(index)

    def conditions(self, index: int) -> Mapping[str, Condition]:
        """What else a generator may read of the image, by name: further keys of the batch."""
        return {}

    def encoded(self, index: int) -> Sequence[bytes] | None:
        """The files that the images come from, byte for byte: one, or for a pair two, or one that holds both halves.

        None where an image is not what decoding a file gives.
        """
        return None

    def digest(self) -> str | None:
        """What stands for all images at once, if something is known that does; otherwise each is asked for its own."""
        return None

    def blocks(self) -> Blocks | None:
        """The runs of images that are fetched together; an epoch then needs few of them at a time."""
        return None

    def representatives(self) -> Sequence[int] | None:
        """The images whose headers are those of all others, if they are known; otherwise each is looked at."""
        return None


class ImageSource(Source[Picture, Header]):
    """A source of the images of one domain."""


class PairSource(Source[tuple[Picture, Picture], tuple[Header, Header]]):
    """A source of pairs, A and B, that are read in one go, as where one record holds both images."""


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image of a source; of pairs that are read in one go A (side 0) or B (side 1)."""

    source: ImageSource | PairSource
    index: int
    side: int = 0

    @property
    def key(self) -> str:
        """What messages and batches call it."""
        return self.source.key(self.index)

    @property
    def record(self) -> Record:
        """What is read for it, which is the same for both images of a pair that are read in one go."""
        return self.source, self.index


class Images(Sequence[ImageRef]):
    """Some images of a source, by their numbers: a reference is made only when it is asked for.

    `side` is that of images of pairs that are read in one go.
    """

    def __init__(
        self, source: ImageSource | PairSource, indices: Sequence[int] | NDArray[np.int64], side: int = 0
    ) -> None:
        self.source, self.indices, self.side = source, indices, side

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, place: int) -> ImageRef: ...

    @overload
    def __getitem__(self, place: slice) -> Images: ...

    def __getitem__(self, place: int | slice) -> ImageRef | Images:
        if isinstance(place, slice):
            return Images(self.source, self.indices[place], self.side)
        return ImageRef(self.source, int(self.indices[place]), self.side)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Images):
            return NotImplemented
        if not len(self) or not len(other):  # whatever source has them not
            return len(self) == len(other)
        same = self.source is other.source and self.side == other.side
        return same and np.array_equal(self.indices, other.indices)

    def __hash__(self) -> int:
        return hash((id(self.source), self.side, len(self))) if len(self) else 0

    def where(self, chosen: NDArray[np.bool_]) -> Images:
        """The images for which an array of the same length is true."""
        return Images(self.source, np.asarray(self.indices)[chosen], self.side)

    def blocks(self) -> Blocks | None:
        """The blocks of the source, as far as these images are in them."""
        found = self.source.blocks()
        return None if found is None else found.within(self.indices)

    def representatives(self) -> Images:
        """Images whose headers are those of all others; all of them where the source knows of none."""
        found = self.source.representatives()
        return self if found is None else Images(self.source, found, self.side)

    def fingerprints(self) -> Iterator[str]:
        """What stands for the images in the fingerprint of their split."""
        digest = self.source.digest()
        if digest is None:
            yield from (self.source.fingerprint(int(index)) for index in self.indices)
        else:
            yield digest + hashlib.sha256(np.asarray(self.indices, np.int64).tobytes()).hexdigest()


Record = tuple[ImageSource | PairSource, int]
Found = PairSource | tuple[ImageSource, ImageSource]
"""A split as it is found: pairs, or the images of domain A and those of domain B."""


class ImageSet(Protocol):
    """What `data.source` describes: a function, or an object that is called, which is asked for each split by name.

    A split that the set does not have has no images.
    """

    def __call__(self, *, split: Split) -> Found: ...


class StoredSet(ABC):
    """An `ImageSet` that lies in one place, a file or a folder, by which messages and records call it."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()

    @property
    def place(self) -> str:
        """Where the set lies, for records."""
        return str(self.root.resolve())

    @abstractmethod
    def __call__(self, *, split: Split) -> Found:
        """The images of a split in a deterministic order; empty where the set has no such split."""

    @abstractmethod
    def require_training_images(self) -> None:
        """Raise a DataError unless the set is there and has a training split."""


class FileSet(ABC):
    """An `ImageSet` of image files, on a disk or within other files: how they become pictures is said afterwards."""

    decodings: tuple[Decoding, Decoding] = (COLOURS, COLOURS)
    """Of domain A and of B."""

    @abstractmethod
    def __call__(self, *, split: Split) -> Found:
        """The images of a split in a deterministic order; empty where the set has no such split."""

    def decoded_as(self, a: Decoding, b: Decoding) -> Self:
        """The same set, whose files of domain A and of B become pictures in these ways."""
        other = copy.copy(self)
        other.decodings = (a, b)
        return other


class MaskedSet(FileSet):
    """One that has a place for masks of valid pixels."""

    @abstractmethod
    def masks(self, split: Split, images: ImageSource | PairSource) -> ImageSource:
        """The masks of a split, in the order of its images of domain A or of its pairs.

        Raises:
            DataError: there are none, or an image has none.
        """


def first_names(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
