"""Finding the images of a set on the disk, and pairing them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from patchlight.data.images import IMAGE_SUFFIXES, is_image
from patchlight.errors import DataError

Layout = Literal["auto", "side_by_side", "folders"]
Pairing = Literal["paired", "unpaired"]
Split = Literal["train", "val", "test"]
Half = Literal["whole", "left", "right"]

VAL_SIZE = 16
"""Images that `data.val_size=auto` cuts from a training split that is large enough."""


@dataclass(frozen=True)
class Source:
    """Where one image comes from: a file, or the left or right half of one."""

    path: Path
    half: Half = "whole"


@dataclass(frozen=True)
class Domains:
    """The images of one split. For pairs, A and B have the same length and belong together by position."""

    a: tuple[Source, ...] = ()
    b: tuple[Source, ...] = ()

    def __len__(self) -> int:
        return max(len(self.a), len(self.b))


def find_split(root: Path, split: Split, pairing: Pairing, layout: Layout) -> Domains:
    """The images of a split in a deterministic order; empty where the set has no such split.

    Raises:
        DataError: the folder of a split is empty, one of its two is missing, an image has no partner, or the layout is
            not clear.
    """
    match layout_of(root, split, layout):
        case "side_by_side":
            if layout == "auto":
                refuse_domains_within(root, split)
            files = list_images(root / split)
            return Domains(tuple(Source(f, "left") for f in files), tuple(Source(f, "right") for f in files))
        case "folders":
            folder_a, folder_b = domain_folders(root, split)
            a, b = list_images(folder_a), list_images(folder_b)
            if pairing == "paired":
                a, b = _match(folder_a, a, folder_b, b)
            return Domains(tuple(map(Source, a)), tuple(map(Source, b)))
    return Domains()


def require_root(root: Path, pairing: Pairing, layout: Layout) -> None:
    """Raise a DataError unless `root` is a folder with a training split."""
    if not os.path.isdir(root):
        raise DataError(f"data.root={root} is not a folder: give the folder of the image set, or download one")
    if not os.access(root, os.R_OK | os.X_OK):
        raise DataError(f"data.root={root} may not be read: change its permissions")
    if layout_of(root, "train", layout) is None:
        side_by_side = f"{root}/train (one file per pair, A left and B right)"
        folders = f"{root}/trainA and {root}/trainB"
        wanted = {"auto": f"{side_by_side} or {folders}", "side_by_side": side_by_side, "folders": folders}[layout]
        raise DataError(f"data.root={root} has no training images: for {pairing} data it should hold {wanted}")


def layout_of(root: Path, split: Split, layout: Layout) -> Literal["side_by_side", "folders"] | None:
    """How a split lies on the disk; None where the set has no such split.

    Raises:
        DataError: both ways are there, or the folder of one domain only.
    """
    side_by_side = layout != "folders" and os.path.isdir(root / split)
    folders = layout != "side_by_side" and _are_there(*domain_folders(root, split))
    if side_by_side and folders:
        raise DataError(
            f"data.root={root} holds both {split}/ and {split}A/, {split}B/: choose one with "
            f"data.layout=side_by_side or data.layout=folders"
        )
    return "side_by_side" if side_by_side else "folders" if folders else None


def refuse_domains_within(root: Path, split: Split) -> None:
    """`train/A` and `train/B` look like two domains; their images must not be cut in halves by mistake."""
    a, b = root / split / "A", root / split / "B"
    if os.path.isdir(a) and os.path.isdir(b):
        raise DataError(
            f"{root / split} holds the folders A and B: name them {root}/{split}A and {root}/{split}B, or say "
            f"data.layout=side_by_side if every file in them is a pair"
        )


def domain_folders(root: Path, split: Split) -> tuple[Path, Path]:
    """`trainA`, `trainB`, or where neither is there `A/train`, `B/train`."""
    flat, nested = (root / f"{split}A", root / f"{split}B"), (root / "A" / split, root / "B" / split)
    return flat if any(map(os.path.isdir, flat)) else nested


def _are_there(a: Path, b: Path) -> bool:
    # Not by `Path.is_dir`, which raises an error of its own where permissions are missing.
    if os.path.isdir(a) != os.path.isdir(b):
        there, missing = (a, b) if os.path.isdir(a) else (b, a)
        raise DataError(f"{there} is there but {missing} is not: a split in two folders needs the images of both")
    return os.path.isdir(a)


def list_images(folder: Path) -> list[Path]:
    """All files below a folder that are images by their names, sorted by their path in it.

    Links that lead nowhere and the like are among them, to be told of when they are read. Hidden folders, as notebooks
    leave them, are not looked into.
    """
    found: list[Path] = []
    for here, folders, names in os.walk(folder, onerror=refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [path for path in map(Path(here).joinpath, names) if is_image(path)]
    found.sort(key=lambda path: path.relative_to(folder).as_posix())
    if not found:
        raise DataError(
            f"{folder} has no images: it should hold files that end with {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return found


def refuse_folder(error: OSError) -> None:
    """An unreadable folder would otherwise be passed over, and its images missing without a word."""
    raise DataError(f"{error.filename} cannot be read ({error.strerror}): change its permissions, or take it away")


def _match(folder_a: Path, a: list[Path], folder_b: Path, b: list[Path]) -> tuple[list[Path], list[Path]]:
    by_stem_a, by_stem_b = _by_stem(folder_a, a), _by_stem(folder_b, b)
    for own, other, folder in ((by_stem_a, by_stem_b, folder_b), (by_stem_b, by_stem_a, folder_a)):
        unmatched = [path for stem, path in own.items() if stem not in other]
        if unmatched:
            names = ", ".join(str(path) for path in unmatched[:5])
            more = f" and {len(unmatched) - 5} more" if len(unmatched) > 5 else ""
            raise DataError(
                f"{names}{more} without a partner of the same name in {folder}: add it or remove the image "
                f"(patchlight-doctor lists them all)"
            )
    return list(by_stem_a.values()), [by_stem_b[stem] for stem in by_stem_a]


def _by_stem(folder: Path, files: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files:
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise DataError(f"{found[stem]} and {path} have the same name, so their partner is not clear: rename one")
        found[stem] = path
    return found


def automatic_val_size(train: Domains) -> int:
    """How many images of each domain are cut off for validation: VAL_SIZE, but at most a tenth, and at least one."""
    smallest = min(len(train.a), len(train.b))
    return min(VAL_SIZE, max(1, smallest // 10), smallest - 1)


def cut_validation(train: Domains, val_size: int, seed: int, paired: bool) -> tuple[Domains, Domains]:
    """Split off `val_size` images of each domain, by seed, and return what is left for training, and them.

    Pairs, and the halves of one file, stay together.

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
    together = paired or all(source.half != "whole" for source in train.a)
    chosen_a = _choose(len(train.a), val_size, seed)
    chosen_b = chosen_a if together else _choose(len(train.b), val_size, seed + 1)
    kept_a, val_a = _divide(train.a, chosen_a)
    kept_b, val_b = _divide(train.b, chosen_b)
    return Domains(kept_a, kept_b), Domains(val_a, val_b)


def _choose(n: int, size: int, seed: int) -> frozenset[int]:
    generator = np.random.default_rng(np.random.SeedSequence([seed, n]))
    return frozenset(generator.permutation(n)[:size].tolist())


def _divide(sources: Sequence[Source], chosen: frozenset[int]) -> tuple[tuple[Source, ...], tuple[Source, ...]]:
    kept = tuple(s for i, s in enumerate(sources) if i not in chosen)
    return kept, tuple(s for i, s in enumerate(sources) if i in chosen)
