"""Sets of image files in folders: finding the files, and pairing them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from patchlight.data.images import IMAGE_SUFFIXES, Header, Picture, is_image, open_picture, read_header
from patchlight.data.labels import numbers
from patchlight.data.sources.base import Found, ImageSource, Pairing, PairSource, Split, first_names
from patchlight.errors import DataError

Layout = Literal["auto", "side_by_side", "folders"]

THREADS = 8
"""They wait for the disk more than they compute; on a network file system that is what takes the time."""


class OddWidthError(DataError):
    """A side-by-side file that cannot be cut in halves."""


class _Paths:
    """Image files, whose keys are their paths."""

    header_threads = THREADS

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def key(self, index: int) -> str:
        return str(self.paths[index])

    def fingerprint(self, index: int) -> str:
        path = self.paths[index]
        return f"{path.parent.name}/{path.name} {path.stat().st_size}"


class Files(_Paths, ImageSource):
    """Image files of one domain."""

    def read(self, index: int) -> Picture:
        return open_picture(self.paths[index])

    def header(self, index: int) -> Header:
        return read_header(self.paths[index], thorough=False)

    def exact_header(self, index: int) -> Header:
        return read_header(self.paths[index])


class LabelFiles(Files):
    """Image files of class indices, each with another one of the numbers of instances: arrays H W 2."""

    def __init__(self, paths: Sequence[Path], instances: Sequence[Path]) -> None:
        super().__init__(paths)
        self.instances = Files(instances)

    def read(self, index: int) -> Picture:
        return _with_instances(open_picture(self.paths[index]), self.instances.paths[index])

    def header(self, index: int) -> Header:
        found = super().header(index)
        return replace(found, channels=found.channels + 1)

    def exact_header(self, index: int) -> Header:
        found = super().exact_header(index)
        return replace(found, channels=found.channels + 1)

    def fingerprint(self, index: int) -> str:
        return f"{super().fingerprint(index)} {self.instances.fingerprint(index)}"


def _with_instances(labels: Picture, path: Path) -> Picture:
    """A label map with the numbers of instances from a file, H W 2.

    Raises:
        ValueError: one of them is no image of whole numbers, or they differ in size.
        DataError: the file cannot be read.
    """
    classes = numbers(labels)
    try:
        instances = numbers(open_picture(path))
        if instances.shape != classes.shape:
            sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (instances, classes)]
            raise ValueError(f"it is {sizes[0]} pixels, its label map {sizes[1]}")
    except ValueError as error:
        raise ValueError(f"{path} does not suit it: {error}") from None
    return np.concatenate([classes, instances], axis=2)


class SideBySide(_Paths, PairSource):
    """Image files that hold A on the left and B on the right, whose keys are their paths."""

    def read(self, index: int) -> tuple[Picture, Picture]:
        image = open_picture(self.paths[index])
        middle = _middle(self.paths[index], image.width)
        return image.crop((0, 0, middle, image.height)), image.crop((middle, 0, image.width, image.height))

    def header(self, index: int) -> tuple[Header, Header]:
        return self.exact_header(index, thorough=False)

    def exact_header(self, index: int, thorough: bool = True) -> tuple[Header, Header]:
        whole = read_header(self.paths[index], thorough)
        half = replace(whole, width=_middle(self.paths[index], whole.width))
        return half, half


def _middle(path: Path, width: int) -> int:
    if width % 2:
        raise OddWidthError(
            f"{path} is {width} pixels wide, an odd number, so it cannot hold two images side by side: cut it to an "
            f"even width, or use data.layout=folders"
        )
    return width // 2


@dataclass(frozen=True)
class Folders:
    """The set below a folder: `root/{train,val,test}` side by side, or `root/{train,val,test}{A,B}`."""

    root: Path
    pairing: Pairing
    layout: Layout
    instances_of: Literal["a", "b"] | None = None
    """The domain of label maps whose instances lie in `root/{split}_instances`, under the same names."""

    def __call__(self, *, split: Split) -> Found:
        """The images of a split in a deterministic order; empty where the set has no such split.

        Raises:
            DataError: the folder of a split is empty, one of its two is missing, an image has no partner, or the layout
                is not clear.
        """
        match layout_of(self.root, split, self.layout):
            case "side_by_side":
                if self.layout == "auto":
                    refuse_domains_within(self.root, split)
                if self.instances_of is not None:
                    raise DataError(
                        f"data.instances=true needs label maps in a folder of their own: {self.root / split} holds "
                        f"pairs side by side"
                    )
                return SideBySide(list_images(self.root / split))
            case "folders":
                folder_a, folder_b = domain_folders(self.root, split)
                a, b = list_images(folder_a), list_images(folder_b)
                if self.pairing == "paired":
                    a, b = _match(folder_a, a, folder_b, b)
                return self._files("a", a, folder_a, split), self._files("b", b, folder_b, split)
        return Files(()), Files(())

    def _files(self, domain: Literal["a", "b"], paths: Sequence[Path], folder: Path, split: Split) -> Files:
        if domain != self.instances_of:
            return Files(paths)
        beside = self.root / f"{split}_instances"
        if not os.path.isdir(beside):
            raise DataError(f"{beside} is not there: data.instances=true looks for the instances of {folder} in it")
        return LabelFiles(*_match(folder, list(paths), beside, list_images(beside)))

    def require_training_images(self) -> None:
        """Raise a DataError unless the root is a folder with a training split."""
        root = self.root
        if not os.path.isdir(root):
            raise DataError(f"data.root={root} is not a folder: give the folder of the image set, or download one")
        if not os.access(root, os.R_OK | os.X_OK):
            raise DataError(f"data.root={root} may not be read: change its permissions")
        if layout_of(root, "train", self.layout) is None:
            side_by_side = f"{root}/train (one file per pair, A left and B right)"
            folders = f"{root}/trainA and {root}/trainB"
            choices = {"auto": f"{side_by_side} or {folders}", "side_by_side": side_by_side, "folders": folders}
            wanted = choices[self.layout]
            raise DataError(f"data.root={root} has no training images: for {self.pairing} data it should hold {wanted}")


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
        endings = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{folder} has no images: it should hold files that end with {endings}")
    return found


def refuse_folder(error: OSError) -> None:
    """An unreadable folder would otherwise be passed over, and its images missing without a word."""
    raise DataError(f"{error.filename} cannot be read ({error.strerror}): change its permissions, or take it away")


def _match(folder_a: Path, a: list[Path], folder_b: Path, b: list[Path]) -> tuple[list[Path], list[Path]]:
    by_stem_a, by_stem_b = _by_stem(folder_a, a), _by_stem(folder_b, b)
    for own, other, folder in ((by_stem_a, by_stem_b, folder_b), (by_stem_b, by_stem_a, folder_a)):
        unmatched = [str(path) for stem, path in own.items() if stem not in other]
        if unmatched:
            raise DataError(
                f"{first_names(unmatched)} without a partner of the same name in {folder}: add it or remove the image "
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
