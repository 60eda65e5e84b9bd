"""How the images of a split lie in folders, on a disk or within an archive, and which of them are pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from patchlight.data.decoding import COLOURS, Decoding
from patchlight.data.sources.base import Pairing, Split, first_names
from patchlight.errors import DataError

Layout = Literal["auto", "side_by_side", "folders"]

JPEG_SUFFIXES = (".jpg", ".jpeg")


class Tree(Protocol):
    """Folders with image files."""

    def is_folder(self, path: Path) -> bool: ...

    def images(self, folder: Path) -> list[Path]:
        """All files below the folder that are images by their names, sorted by their path in it; hidden ones are not.

        Raises:
            DataError: there are none, or a folder cannot be read.
        """


class Disk:
    """The folders of this machine; `decoding` says which files are images."""

    def __init__(self, decoding: Decoding = COLOURS) -> None:
        self.decoding = decoding

    def is_folder(self, path: Path) -> bool:
        # Not by `Path.is_dir`, which raises an error of its own where permissions are missing.
        return os.path.isdir(path)

    def images(self, folder: Path) -> list[Path]:
        """As of any tree. Links that lead nowhere and the like are among them, to be told of when they are read."""
        found: list[Path] = []
        for here, folders, names in os.walk(folder, onerror=refuse_folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [path for path in map(Path(here).joinpath, names) if self.decoding.takes(path)]
        return sorted_images(folder, found, self.decoding)


DISK = Disk()


def refuse_folder(error: OSError) -> None:
    """An unreadable folder would otherwise be passed over, and its images missing without a word."""
    raise DataError(f"{error.filename} cannot be read ({error.strerror}): change its permissions, or remove it")


def sorted_images(folder: Path, found: list[Path], decoding: Decoding = COLOURS) -> list[Path]:
    """Images below a folder in the order of their paths in it.

    Raises:
        DataError: there are none.
    """
    if not found:
        endings = ", ".join(sorted(decoding.suffixes))
        raise DataError(f"{folder} has no images: it should hold files that end with {endings}")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def layout_of(
    root: Path, split: Split, layout: Layout, tree: Tree = DISK
) -> Literal["side_by_side", "folders"] | None:  # fmt: skip
    """How a split lies below the root; None where the set has no such split.

    Raises:
        DataError: both ways are there, or the folder of one domain only.
    """
    side_by_side = layout != "folders" and tree.is_folder(root / split)
    folders = layout != "side_by_side" and _are_there(*domain_folders(root, split, tree), tree)
    if side_by_side and folders:
        raise DataError(
            f"data.root={root} holds both {split}/ and {split}A/, {split}B/: choose one with "
            f"data.layout=side_by_side or data.layout=folders"
        )
    return "side_by_side" if side_by_side else "folders" if folders else None


def refuse_domains_within(root: Path, split: Split, tree: Tree = DISK) -> None:
    """`train/A` and `train/B` look like two domains; their images must not be cut in halves by mistake."""
    if all(tree.is_folder(root / split / domain) for domain in ("A", "B")):
        raise DataError(
            f"{root / split} holds the folders A and B: name them {root}/{split}A and {root}/{split}B, or say "
            f"data.layout=side_by_side if every file in them is a pair"
        )


def domain_folders(root: Path, split: Split, tree: Tree = DISK) -> tuple[Path, Path]:
    """`trainA`, `trainB`, or where neither is there `A/train`, `B/train`."""
    flat, nested = (root / f"{split}A", root / f"{split}B"), (root / "A" / split, root / "B" / split)
    return flat if any(map(tree.is_folder, flat)) else nested


def _are_there(a: Path, b: Path, tree: Tree) -> bool:
    if tree.is_folder(a) != tree.is_folder(b):
        there, missing = (a, b) if tree.is_folder(a) else (b, a)
        raise DataError(f"{there} is there but {missing} is not: a split in two folders needs the images of both")
    return tree.is_folder(a)


def find_split(
    root: Path, split: Split, layout: Layout, pairing: Pairing, tree: Tree = DISK, tree_b: Tree | None = None
) -> list[Path] | tuple[list[Path], list[Path]] | None:
    """The files of a split in a deterministic order: side by side, or of both domains; None without such a split.

    Files of both domains of a paired set are in pairs. `tree_b` lists the files of domain B, where others are images.

    Raises:
        DataError: the folder of a split is empty, one of its two is missing, an image has no partner, or the layout is
            not clear.
    """
    match layout_of(root, split, layout, tree):
        case "side_by_side":
            if layout == "auto":
                refuse_domains_within(root, split, tree)
            return tree.images(root / split)
        case "folders":
            folder_a, folder_b = domain_folders(root, split, tree)
            a, b = tree.images(folder_a), (tree_b or tree).images(folder_b)
            return match(folder_a, a, folder_b, b) if pairing == "paired" else (a, b)
    return None


def require_layout(root: Path, layout: Layout, pairing: Pairing, tree: Tree = DISK) -> None:
    """Raise a DataError unless there is a training split; images that only lie in the wrong place are told of."""
    if layout_of(root, "train", layout, tree) is not None:
        return
    side_by_side = f"{root}/train (one file per pair, A left and B right)"
    folders = f"{root}/trainA and {root}/trainB"
    wanted = {"auto": f"{side_by_side} or {folders}", "side_by_side": side_by_side, "folders": folders}[layout]
    raise DataError(
        f"data.root={root} has no training images: for {pairing} data it should hold {wanted}"
        f"{misplaced(root, pairing, tree)}"
    )


def misplaced(root: Path, pairing: Pairing, tree: Tree = DISK) -> str:
    """Where to move images that lie in the root itself, or in folders of the domains, instead of in a split."""
    if all(tree.is_folder(root / domain) for domain in ("A", "B")):
        return f"; move the images of {root / 'A'} to {root}/trainA, and those of {root / 'B'} to {root}/trainB"
    own = [path for path in _images_or_none(root, tree) if path.parent == root]
    if not own:
        return ""
    kind = "pairs side by side" if pairing == "paired" else "images"
    where = f"{root}/train" if pairing == "paired" else f"{root}/trainA or {root}/trainB"
    return f"; {len(own)} lie in it directly: if they are {kind}, move them to {where}"


def _images_or_none(root: Path, tree: Tree) -> list[Path]:
    try:
        return tree.images(root)
    except DataError:
        return []


def match(folder_a: Path, a: list[Path], folder_b: Path, b: list[Path]) -> tuple[list[Path], list[Path]]:
    """The images of two folders in pairs of the same name, in the order of A.

    Raises:
        DataError: one has no partner, or two.
    """
    by_stem_a, by_stem_b = _by_stem(folder_a, a), _by_stem(folder_b, b)
    for own, other, folder in ((by_stem_a, by_stem_b, folder_b), (by_stem_b, by_stem_a, folder_a)):
        unmatched = [str(path) for stem, path in own.items() if stem not in other]
        if unmatched:
            raise DataError(
                f"{first_names(unmatched)} without a partner of the same name in {folder}: add it or remove the image "
                f"(patchlight-doctor lists them all)"
            )
    return list(by_stem_a.values()), [by_stem_b[stem] for stem in by_stem_a]


def match_masks(
    root: Path, split: Split, images: Sequence[Path], side_by_side: bool, tree: Tree = DISK
) -> list[Path]:  # fmt: skip
    """The masks in `root/{split}_mask` of some images of domain A, or pairs side by side.

    A mask has the same path below its folder as its image below the split's, whatever its ending.

    Raises:
        DataError: the folder is not there, an image has no mask or two, or a mask is a JPEG by its name.
    """
    folder = root / f"{split}_mask"
    if not tree.is_folder(folder):
        raise DataError(f"{folder} is not there: data.mask=true looks for the masks of the {split} pairs in it")
    by_name: dict[str, Path] = {}
    for path in tree.images(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in by_name:
            raise DataError(f"{by_name[name]} and {path} have the same name, so their pair is not clear: remove one")
        if path.suffix.lower() in JPEG_SUFFIXES:
            raise DataError(f"{path} is a JPEG, which does not keep the zeros of a mask: use PNG")
        by_name[name] = path
    below = root / split if side_by_side else domain_folders(root, split, tree)[0]
    found = []
    for image in images:
        name = image.relative_to(below).with_suffix("").as_posix()
        if name not in by_name:
            raise DataError(f"{image} has no mask of its name in {folder}: add it, or set data.mask=false")
        found.append(by_name[name])
    return found


def _by_stem(folder: Path, files: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files:
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise DataError(f"{found[stem]} and {path} have the same name, so their partner is not clear: rename one")
        found[stem] = path
    return found
