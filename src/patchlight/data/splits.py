"""The splits of a set as a training reads them: with masks, cut for validation, and limited in number."""

from __future__ import annotations

from typing import Literal, get_args

from patchlight.data.sources import Domains, ImageSet, MaskedSet, Pairing, Split, find_domains, keep_for_validation
from patchlight.errors import DataError


def find_splits(
    source: ImageSet, pairing: Pairing, *, masks: bool, fit: bool, val_size: int | Literal["auto"], seed: int,
    max_train: int | None, max_eval: int | None,
) -> tuple[dict[Split, Domains], list[str]]:  # fmt: skip
    """The images of each split, and what is to be told of them; `fit` needs some to train on.

    Raises:
        DataError: as `find_domains`; an image has no mask; there is nothing to train on.
    """
    train, val, test = (find_domains(source, split, pairing) for split in get_args(Split))
    if masks and isinstance(source, MaskedSet):
        train, val, test = (
            found.with_masks(source.masks(split, found.a.source)) if len(found) else found
            for split, found in zip(get_args(Split), (train, val, test), strict=True)
        )
    if fit and not min(len(train.a), len(train.b)):
        counted = f"{len(train.a)} of domain A and {len(train.b)} of B"
        raise DataError(f"data.source has no training images for {pairing} data: {counted}")
    notes: list[str] = []
    if len(train) and not len(val):
        train, val, notes = keep_for_validation(train, val_size, seed, pairing)
    return {"train": train.first(max_train), "val": val.first(max_eval), "test": test.first(max_eval)}, notes
