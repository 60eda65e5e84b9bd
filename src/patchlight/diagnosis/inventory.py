"""The files that a training would read, and findings about folders and names, without opening an image."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from numpy.typing import NDArray

from patchlight.data.decoding import Decoding
from patchlight.data.image_files import is_image
from patchlight.data.sources import Split
from patchlight.data.sources.layouts import domain_folders, layout_of, misplaced, refuse_domains_within
from patchlight.diagnosis.findings import Finding
from patchlight.errors import ConfigError, DataError, printable

Domain = Literal["A", "B", "AB"]
"""`AB` is a file that holds both images side by side."""

LONG_NAME = 200
"""Bytes. File systems end at 255, and results are named after the image with something added."""

ALIKE = 0.5
"""From this share of the smaller domain on, names that are in both mean pairs."""


@dataclass(frozen=True)
class Item:
    """An image file of a split. `key` is what it is matched by: its place below the split, without suffix."""

    split: Split
    domain: Domain
    path: Path
    name: str
    key: str


@dataclass
class Inventory:
    """The files of a set. `layout` is that of its training split."""

    root: Path
    paired: bool = True
    layout: Literal["side_by_side", "folders"] | None = None
    items: list[Item] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    by_values: frozenset[str] = frozenset()
    """The domains whose images are read by their values."""
    given: Path | None = None
    """What the user calls the set, where `root` is a temporary copy of it."""

    @property
    def shown(self) -> Path:
        """The path by which reports call the set."""
        return self.root if self.given is None else self.given

    def counts(self) -> dict[str, dict[str, int]]:
        """How many images of each domain there are in each split."""
        splits = dict.fromkeys(item.split for item in self.items)
        return {
            split: {d: sum(d in i.domain for i in self.items if i.split == split) for d in ("A", "B")}
            for split in splits
        }


def parts(item: Item, array: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The images of a file, H W C, by their domains; none where it cannot be cut in halves."""
    half, odd = divmod(array.shape[1], 2)
    if item.domain != "AB":
        yield item.domain, array
    elif half and not odd:
        yield "A", array[:, :half]
        yield "B", array[:, half:]


def scan(
    root: Path, layout: Literal["auto", "paired", "unpaired"], by_values: Collection[str] = ()
) -> Inventory:  # fmt: skip
    """Find the images of a set as training finds them; those of the domains `by_values` may be files of NumPy.

    Raises:
        ConfigError: the folder is not there, or cannot be read.
    """
    if not os.path.isdir(root):
        raise ConfigError(f"data={printable(root)} is not a folder: give the folder of the image set")
    stock = Inventory(root, by_values=frozenset(by_values))
    try:
        os.listdir(root)
        os.stat(os.path.join(root, os.curdir))  # names that can be listed need not lead to their files
        for split in get_args(Split):
            _take_split(stock, split)
        stock.paired = _are_pairs(stock.items) if layout == "auto" else layout == "paired"
        _check_root(stock)
    except OSError as error:
        raise ConfigError(f"data={printable(root)} cannot be read ({error.strerror})") from None
    if stock.paired:
        _match(stock)
    stock.findings += _check_names(stock.items)
    return stock


def _take_split(stock: Inventory, split: Split) -> None:
    try:
        kind = layout_of(stock.root, split, "auto")
        if kind == "side_by_side":
            refuse_domains_within(stock.root, split)
    except DataError as error:
        stock.findings.append(Finding("layout", printable(str(error))))
        return
    if kind is None:
        if split != "train":
            stock.findings.append(Finding("splits", f"there is no {split} split", count=1))
        return
    if split == "train":
        stock.layout = kind
    if kind == "side_by_side":
        _take_folder(stock, split, "AB", stock.root / split)
    else:
        for domain, folder in zip(("A", "B"), domain_folders(stock.root, split), strict=True):
            _take_folder(stock, split, domain, folder)  # type: ignore[arg-type]


def _take_folder(stock: Inventory, split: Split, domain: Domain, folder: Path) -> None:
    def name(path: str | Path) -> str:
        return printable(Path(path).relative_to(stock.root).as_posix())

    def blocked(error: OSError) -> None:
        stock.findings.append(
            Finding("folder", f"{name(error.filename)} cannot be read ({error.strerror})", (name(error.filename),))
        )

    decoding = Decoding(values=any(own in domain for own in stock.by_values))
    known = len(stock.findings)
    paths: list[Path] = []
    others: list[Path] = []
    for here, folders, names in os.walk(folder, onerror=blocked):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for link in (os.path.join(here, f) for f in folders if os.path.islink(os.path.join(here, f))):
            what = f"{name(link)} is a link to a folder, which training does not follow"
            stock.findings.append(Finding("unused", what, (name(link),)))
        for path in map(Path(here).joinpath, names):
            (paths if decoding.takes(path) else others).append(path)
    paths.sort(key=lambda path: path.relative_to(folder).as_posix())
    good = [path for path in paths if os.path.isfile(path)]
    stock.findings += [_no_file(path, name(path)) for path in paths if not os.path.isfile(path)]
    if not good and not any(f.check == "folder" for f in stock.findings[known:]):
        endings = ", ".join(sorted(decoding.suffixes))
        stock.findings.append(Finding("empty_split", f"{name(folder)} has no files that end with {endings}"))
    strangers = sorted(name(path) for path in others if not path.name.startswith("."))
    if strangers:
        more = f", and neither do {len(strangers) - 1} more" if len(strangers) > 1 else ""
        what = f"{strangers[0]} does not end like an image{more}"
        stock.findings.append(Finding("other_file", what, tuple(strangers), count=len(strangers)))
    for path in good:
        key = path.relative_to(folder).with_suffix("").as_posix()
        stock.items.append(Item(split, domain, path, name(path), key))


def _no_file(path: Path, name: str) -> Finding:
    """The finding about a name of an image that leads to no readable file."""
    reason = "it is no regular file"
    try:
        os.stat(path)
    except OSError as error:
        if os.path.islink(path):
            return Finding("link", f"{name} is a link to nowhere, or to itself", (name,))
        reason = error.strerror or str(error)
    return Finding("unreadable", f"{name} cannot be read as an image ({reason})", (name,))


def _check_root(stock: Inventory) -> None:
    """A set needs a training split; a folder of images that is none of the splits may be one with a wrong name."""
    root = stock.root
    if not any(f.check == "layout" for f in stock.findings) and not any(
        os.path.isdir(f) for f in (root / "train", *domain_folders(root, "train"))
    ):
        wanted = "train/ (pairs side by side), or trainA/ and trainB/"
        stock.findings.insert(
            0,
            Finding(
                "layout",
                printable(f"{root} has no training images: it should hold {wanted}{misplaced(root, 'paired')}"),
            ),
        )
    read = {"A", "B"} if stock.layout == "folders" and not os.path.isdir(root / "trainA") else set()
    read |= {split + domain for split in get_args(Split) for domain in ("", "A", "B", *(["_mask"] * stock.paired))}
    for entry in sorted(os.scandir(root), key=lambda e: e.name):
        if entry.name in read or entry.name.startswith(".") or not os.path.isdir(entry.path):
            continue
        if any(is_image(Path(name)) for _, _, names in os.walk(entry.path) for name in names):
            name = printable(entry.name)
            stock.findings.append(Finding("unused", f"{name}/ holds images that no split takes", (name,)))


def _are_pairs(items: list[Item]) -> bool:
    keys: dict[str, set[tuple[str, str]]] = {"A": set(), "B": set()}
    for item in items:
        if item.domain != "AB":
            keys[item.domain].add((item.split, item.key))
    if not keys["A"] or not keys["B"]:
        return True
    return len(keys["A"] & keys["B"]) >= ALIKE * min(len(keys["A"]), len(keys["B"]))


def _match(stock: Inventory) -> None:
    """Find images whose partner is missing or not clear."""
    known: dict[tuple[str, str, str], Item] = {}
    for item in stock.items:
        if item.domain == "AB":
            continue
        other = known.setdefault((item.split, item.domain, item.key), item)
        if other is not item:
            what = f"{other.name} and {item.name} have the same name, so their partner is not clear"
            stock.findings.append(Finding("same_name", what, (other.name, item.name)))
    for (split, domain, key), item in known.items():
        partner = "B" if domain == "A" else "A"
        if (split, partner, key) not in known:
            what = f"{item.name} has no partner in {split}{partner}"
            stock.findings.append(Finding("partner", what, (item.name,), pictures=((item.path, "AB"),)))


def _check_names(items: list[Item]) -> Iterator[Finding]:
    folded: dict[str, str] = {}
    for item in items:
        raw = str(item.path)
        same = folded.setdefault(f"{item.path.parent}/{item.path.name.casefold()}", item.name)
        if printable(raw) != raw:
            yield Finding("name", f"{item.name} has a line break, control character or broken encoding", (item.name,))
        elif len(os.fsencode(item.path.name)) > LONG_NAME:
            size = len(os.fsencode(item.path.name))
            what = f"{item.name} is a name of {size} bytes, so longer ones cannot be made of it"
            yield Finding("name", what, (item.name,))
        elif same != item.name:
            yield Finding("name", f"{same} and {item.name} differ in case only", (same, item.name))
