"""Masks of valid pixels beside pairs: whether a training with `data.mask=true` could use them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from patchlight.data.image_files import open_picture
from patchlight.data.masks import MASK
from patchlight.data.sources.layouts import DISK
from patchlight.diagnosis.findings import Finding
from patchlight.diagnosis.inventory import Inventory
from patchlight.errors import DataError, printable
from patchlight.system.image_file import one_message

Size = tuple[int, int]


def mask_findings(stock: Inventory, sizes: dict[Path, Size], workers: int) -> Iterator[Finding]:
    """What is wrong with the masks of the splits that have some; `sizes` are width and height of images by file."""
    for split in dict.fromkeys(item.split for item in stock.items):
        folder = stock.root / f"{split}_mask"
        if not stock.paired or not os.path.isdir(folder):
            continue
        try:
            paths = DISK.images(folder)
        except DataError as error:
            yield Finding("mask", printable(str(error)).replace(f"{stock.root}/", ""))
            continue
        by_key = {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}
        images = {item.key: item for item in stock.items if item.split == split and item.domain != "B"}
        for key, item in images.items():
            if key not in by_key:
                yield Finding("mask", f"{item.name} has no mask of its name in {folder.name}", (item.name,))
        for key in by_key.keys() - images.keys():
            name = by_key[key].relative_to(stock.root).as_posix()
            yield Finding("unused", f"{printable(name)} is the mask of no image", (name,))
        both = [(by_key[key], sizes.get(item.path)) for key, item in images.items() if key in by_key]
        yield from _of_files(stock.root, both, workers)


def _of_files(root: Path, masks: Sequence[tuple[Path, Size | None]], workers: int) -> Iterator[Finding]:
    with ThreadPoolExecutor(workers) as pool:
        for (path, _), found in zip(masks, pool.map(_look, *zip(*masks, strict=True)) if masks else (), strict=True):
            name = printable(path.relative_to(root).as_posix())
            if found is not None:
                check, said = found
                yield Finding(check, f"{name} {said}", (name,), pictures=((path, "AB"),))


def _look(path: Path, size: Size | None) -> tuple[str, str] | None:
    """What is wrong with a mask: a check, and what it says."""
    try:
        with one_message("it"):
            picture = open_picture(path, called="it")
            MASK.check_header(len(picture.getbands()), picture.mode, picture.format or "")
            valid = MASK.levels(picture)
    except DataError as error:
        return "mask", f"cannot be used: {printable(str(error)).removesuffix(': replace or remove it')}"
    if size is not None and (valid.shape[1], valid.shape[0]) != size:
        return "mask", f"is {valid.shape[1]}x{valid.shape[0]} pixels, its image {size[0]}x{size[1]}"
    return None if valid.any() else ("empty_mask", "has no valid pixel")
