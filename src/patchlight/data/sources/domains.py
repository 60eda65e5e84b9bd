"""From sources to the images of each split: pairing, and cutting off images for validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from patchlight.data.image_files import Header, Picture
from patchlight.data.ordering import Blocks
from patchlight.data.sources.base import (
    Found,
    ImageRef,
    Images,
    ImageSet,
    ImageSource,
    Pairing,
    PairSource,
    Split,
    first_names,
)
from patchlight.errors import DataError, UserError

VAL_SIZE = 16
"""Images that `data.val_size=auto` cuts from a training split that is large enough."""


class _Nothing(ImageSource):
    """A source without images."""

    def __len__(self) -> int:
        return 0

    def read(self, index: int) -> Picture:
        raise IndexError(index)

    def header(self, index: int) -> Header:
        raise IndexError(index)

    def key(self, index: int) -> str:
        raise IndexError(index)


def _no_images() -> Images:
    return Images(_Nothing(), ())


@dataclass(frozen=True)
class Domains:
    """The images of one split. For pairs, A and B have the same length and belong together by position.

    So do `masks`, of the valid pixels of pairs that have some.
    """

    a: Images = field(default_factory=_no_images)
    b: Images = field(default_factory=_no_images)
    masks: Images | None = None

    def __len__(self) -> int:
        return max(len(self.a), len(self.b))

    def first(self, n: int | None) -> Domains:
        """The first `n` images of each domain; all of them for None."""
        return Domains(self.a[:n], self.b[:n], None if self.masks is None else self.masks[:n])

    def where(self, a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Domains:
        """The images of each domain for which an array of the same length is true."""
        return Domains(self.a.where(a), self.b.where(b), None if self.masks is None else self.masks.where(a))

    def with_masks(self, masks: ImageSource) -> Domains:
        """The same images, with the masks of a source that are in the order of that of domain A."""
        return replace(self, masks=Images(masks, self.a.indices))

    def representatives(self) -> Domains:
        """Images whose headers are those of all others, as far as the sources know them; otherwise all images."""
        return Domains(self.a.representatives(), self.b.representatives(), self.masks)

    def blocks(self) -> tuple[Blocks, Blocks] | None:
        """The blocks of both domains; None unless the images of both lie in some."""
        a, b = self.a.blocks(), self.b.blocks()
        return None if a is None or b is None else (a, b)

    def fingerprints(self) -> Iterator[str]:
        """What stands for the images, once for those that are read in one go."""
        yield from self.a.fingerprints()
        if self.b.source is not self.a.source:
            yield from self.b.fingerprints()
        elif not np.array_equal(self.b.indices, self.a.indices):
            yield from self.b.where(~np.isin(self.b.indices, self.a.indices)).fingerprints()


def find_domains(source: ImageSet, split: Split, pairing: Pairing) -> Domains:
    """The images of a split.

    Raises:
        DataError: as `domains_of`; a source of the user's own does not find them.
    """
    try:
        return domains_of(source(split=split), pairing)
    except UserError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"data.source does not find the {split} images: {type(error).__name__}: {reason}") from error


def domains_of(found: Found, pairing: Pairing) -> Domains:
    """The images of a split, those of a paired set in pairs.

    Raises:
        DataError: an image has no partner, or a key is there twice.
    """
    if isinstance(found, PairSource):
        return Domains(_all(found, 0), _all(found, 1))
    a, b = found
    if not (isinstance(a, ImageSource) and isinstance(b, ImageSource)):
        raise TypeError(f"{type(a).__name__} and {type(b).__name__} are no pair of patchlight.data.ImageSource")
    domains = Domains(_all(a), _all(b))
    if pairing == "paired" and not (a.in_order and b.in_order and len(a) == len(b)):
        return _aligned(domains)
    return domains


def _all(source: ImageSource | PairSource, side: int = 0) -> Images:
    return Images(source, range(len(source)), side)


def _aligned(domains: Domains) -> Domains:
    """B in the order of A: by their keys if they share one, otherwise as they are."""
    by_key_a, by_key_b = _by_key(domains.a), _by_key(domains.b)
    if by_key_a.keys().isdisjoint(by_key_b):
        if len(domains.a) != len(domains.b):
            raise DataError(
                f"data.source has {len(domains.a)} images of domain A and {len(domains.b)} of B without a key in "
                f"common, so they are no pairs: give pairs the same key, or list as many images of both in one order"
            )
        return domains
    for own, other, name in ((by_key_a, by_key_b, "B"), (by_key_b, by_key_a, "A")):
        unmatched = [key for key in own if key not in other]
        if unmatched:
            raise DataError(f"{first_names(unmatched)} of data.source have no partner of their key in {name}")
    return Domains(domains.a, Images(domains.b.source, [by_key_b[key].index for key in by_key_a]))


def _by_key(images: Sequence[ImageRef]) -> dict[str, ImageRef]:
    found = {image.key: image for image in images}
    if len(found) < len(images):
        twice = next(image.key for image in images if found[image.key] != image)
        raise DataError(f"{twice} is the key of two images of data.source: give each a key of its own")
    return found


def keep_for_validation(
    train: Domains, val_size: int | Literal["auto"], seed: int, pairing: Pairing
) -> tuple[Domains, Domains, list[str]]:
    """Training and validation images of a training split, and what is to be told of the cut.

    `auto` is VAL_SIZE images of each domain, but at most a tenth, and at least one.
    """
    if val_size != "auto":
        return *cut_validation(train, val_size, seed, paired=pairing == "paired"), []
    smallest = min(len(train.a), len(train.b))
    size = min(VAL_SIZE, max(1, smallest // 10), smallest - 1)
    images = "pairs" if pairing == "paired" else "images of each domain"
    if size == 0:
        return train, Domains(), ["data.val_size=auto: with one training image none is kept for validation"]
    note = (
        f"data.val_size=auto: {size} of the {smallest} training {images} {'is' if size == 1 else 'are'} kept for "
        f"validation, as there is no val split"
    )
    return *cut_validation(train, size, seed, paired=pairing == "paired"), [note] if size < VAL_SIZE else []


def cut_validation(train: Domains, val_size: int, seed: int, paired: bool) -> tuple[Domains, Domains]:
    """Split off `val_size` images of each domain, by seed, and return what is left for training, and them.

    Pairs, and images that are read in one go, stay together.

    Raises:
        DataError: nothing would be left for training.
    """
    if val_size == 0:
        return train, Domains()
    smallest = min(len(train.a), len(train.b))
    if val_size >= smallest:
        raise DataError(
            f"data.val_size={val_size} leaves nothing to train on: there are {smallest} training images; set it lower, "
            f"or to 0 for no validation"
        )
    combined = paired or isinstance(train.a.source, PairSource)
    chosen_a = _choose(len(train.a), val_size, seed)
    chosen_b = chosen_a if combined else _choose(len(train.b), val_size, seed + 1)
    return train.where(~chosen_a, ~chosen_b), train.where(chosen_a, chosen_b)


def _choose(n: int, size: int, seed: int) -> NDArray[np.bool_]:
    """True at `size` places of `n`."""
    generator = np.random.default_rng(np.random.SeedSequence([seed, n]))
    chosen = np.zeros(n, np.bool_)
    chosen[generator.permutation(n)[:size]] = True
    return chosen
