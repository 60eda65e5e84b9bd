"""The checks of a set by name, and single findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Level = Literal["error", "warning", "note"]

LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Check:
    """A check: its level, its title in the table, and the advice to the user."""

    level: Level
    title: str
    advice: str


CHECKS: dict[str, Check] = {
    "layout": Check("error", "folders do not make a set", "arrange the folders as docs/doctor.md shows"),
    "folder": Check("error", "folder cannot be read", "change its permissions, or remove it"),
    "empty_split": Check("error", "split without images", "fill the folder, or remove it"),
    "link": Check("error", "link that leads nowhere", "replace the link by the file, or remove it"),
    "empty_file": Check("error", "file without bytes", "replace or remove it; fix= leaves it out"),
    "unreadable": Check("error", "not readable as an image", "replace or remove it; fix= leaves it out"),
    "truncated": Check("error", "image is cut off", "download or copy it again; fix= leaves it out"),
    "too_large": Check("error", "too large to decode safely", "scale it down first; fix= leaves it out"),
    "partner": Check("error", "no partner of the same name", "add the partner, or remove it; fix= leaves it out"),
    "same_name": Check("error", "two files of one name", "rename one of them: its partner is not clear"),
    "pair_size": Check("error", "pair of different sizes", "make both images equally large; fix= leaves them out"),
    "odd_width": Check("error", "odd width of a side-by-side pair", "cut it to an even width; fix= leaves it out"),
    "too_small": Check("error", "image too small", "remove it, or lower min_side; fix= leaves it out"),
    "value_type": Check("error", "values of another type", "store them as depth_a or depth_b says, or say another"),
    "not_finite": Check("error", "values that are NaN or infinite", "replace them, or mask the pixels and set a value"),
    "bands": Check("error", "other bands than most images", "store the same bands in all, or choose with data.bands_a"),
    "mask": Check("error", "mask that cannot be used", "one gray PNG for each pair, as large as its image"),
    "damaged_jpeg": Check("warning", "JPEG that is damaged inside", "look at it, and copy it again"),
    "leak": Check("warning", "same image in training and evaluation", "remove one of them; fix= takes it out of train"),
    "near_leak": Check("warning", "nearly the same image in both", "look at them, and keep such images in one split"),
    "twins": Check("warning", "both images of a pair are the same", "check how the pairs were made"),
    "both_domains": Check("warning", "same image in A and in B", "keep it in the domain that it belongs to"),
    "duplicate": Check("warning", "same image twice in a split", "remove one, unless it is to count twice"),
    "blank": Check("warning", "blank image", "remove it, unless a plain image means something"),
    "low_contrast": Check("warning", "image with little contrast", "look whether it shows anything"),
    "label_drift": Check("warning", "label colours have drifted", "use lossless maps; fix= snaps them to the palette"),
    "bit_depth": Check("warning", "more than 8 bits", "scale them to 8 bits; fix= does as training does"),
    "value_range": Check("warning", "values that training would clip", "scale floating-point images to [0, 1]"),
    "clipped": Check("warning", "values outside the range are clipped", "choose a wider data.range_a or range_b"),
    "constant_band": Check("warning", "band that has one value", "look whether the band was filled"),
    "empty_mask": Check("warning", "mask without a valid pixel", "leave the pair out: nothing of it counts"),
    "mode": Check("warning", "other channels than most images", "make them alike; fix= does as training does"),
    "alpha": Check("warning", "transparency", "training lays it over white; fix= does that"),
    "frames": Check("warning", "several pages or frames", "training reads the first; fix= keeps only that"),
    "aspect": Check("warning", "unusual shape", "crop it: resize_and_crop would squeeze it"),
    "imbalance": Check("warning", "A and B differ in number", "an epoch is as long as the larger; add to the smaller"),
    "name": Check("warning", "name that will be trouble", "rename it"),
    "unused": Check("warning", "folder that training does not read", "name it as a split, or ignore this"),
    "one_side": Check("note", "half of a pair in both splits", "see whether the pairs of both splits are independent"),
    "orientation": Check("note", "turned by its EXIF data", "training turns it upright; fix= does that for good"),
    "palette": Check("note", "colours by a palette", "training reads the colours, not the indices"),
    "sizes": Check("note", "several sizes", "data.preprocess decides what becomes of them"),
    "splits": Check("note", "no split of that name", "validation is cut from train; a test needs a split"),
    "other_file": Check("note", "file that is not taken for an image", "nothing, unless it is an image"),
}  # fmt: skip
"""In the order of the report."""


@dataclass(frozen=True)
class Finding:
    """A finding of a check: a message, and the files that it is about, by their names below the set's folder.

    `value` says how bad it is, the higher the worse; `count` how many images it is about. `pictures` are the images
    that show it: a file and which part of it (`A`, `B`, or `AB` for all of it).
    """

    check: str
    message: str
    files: tuple[str, ...] = ()
    value: float = 0.0
    count: int = 1
    pictures: tuple[tuple[Path, str], ...] = ()

    @property
    def level(self) -> Level:
        return CHECKS[self.check].level


def by_check(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """The findings of each check that has any, in the order of `CHECKS`, the worst first."""
    found: dict[str, list[Finding]] = {name: [] for name in CHECKS}
    for finding in findings:
        found[finding.check].append(finding)
    return {name: sorted(group, key=lambda f: -f.value) for name, group in found.items() if group}


def counts(findings: Sequence[Finding]) -> dict[Level, int]:
    """How many images or folders are concerned at each level."""
    return {level: sum(f.count for f in findings if f.level == level) for level in LEVELS}
