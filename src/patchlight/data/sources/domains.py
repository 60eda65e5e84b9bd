"""From sources to the images of each split: pairing, and cutting off images for validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from patchlight.data.sources.base import (
    Found,
    ImageRef,
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


@dataclass(frozen=True)
class Domains:
    """The images of one split. For pairs, A and B have the same length and belong together by position."""

    a: tuple[ImageRef, ...] = ()
    b: tuple[ImageRef, ...] = ()

    def __len__(self) -> int:
        return max(len(self.a), len(self.b))

    def first(self, n: int | None) -> Domains:
        """The first `n` images of each domain; all of them for None."""
        return Domains(self.a[:n], self.b[:n])


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
    return _aligned(domains) if pairing == "paired" else domains


def _all(source: ImageSource | PairSource, side: int = 0) -> tuple[ImageRef, ...]:
    return tuple(ImageRef(source, i, side) for i in range(len(source)))


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
    return Domains(domains.a, tuple(by_key_b[key] for key in by_key_a))


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
    combined = paired or all(isinstance(image.source, PairSource) for image in train.a)
    chosen_a = _choose(len(train.a), val_size, seed)
    chosen_b = chosen_a if combined else _choose(len(train.b), val_size, seed + 1)
    parts = ((train.a, chosen_a), (train.b, chosen_b))
    kept, val = (
        Domains(*(tuple(image for i, image in enumerate(images) if (i in chosen) is cut) for images, chosen in parts))
        for cut in (False, True)
    )
    return kept, val


def _choose(n: int, size: int, seed: int) -> frozenset[int]:
    generator = np.random.default_rng(np.random.SeedSequence([seed, n]))
    return frozenset(generator.permutation(n)[:size].tolist())
