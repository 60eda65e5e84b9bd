"""Diagnosis of a set: all checks, of single files by their facts and of the set as a whole."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from patchlight.data.images import read_image, to_array
from patchlight.diagnosis import duplicates
from patchlight.diagnosis.findings import Finding
from patchlight.diagnosis.inventory import Inventory, parts, scan
from patchlight.diagnosis.labels import Palette, find_palette, off_palette
from patchlight.diagnosis.masks import mask_findings
from patchlight.diagnosis.reading import Facts, read_all
from patchlight.diagnosis.values import Expected, value_findings


@dataclass(frozen=True)
class Thresholds:
    """Limits from which on something is a finding; see configs/doctor.yaml."""

    min_side: int = 16
    max_aspect: float = 4.0
    blank_std: float = 2.0
    low_std: float = 8.0
    near_distance: int = 12
    near_difference: float = 12.0
    imbalance: float = 2.0
    drift_levels: int = 8
    drift_share: float = 0.01
    clipped_share: float = 0.01


@dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of a set. `labels` is the domain of label maps, if any, and `palette` its colours."""

    stock: Inventory
    facts: list[Facts]
    findings: list[Finding]
    labels: Literal["A", "B"] | None
    palette: Palette | None
    drifted: dict[Path, float]
    """The share of pixels off the palette, of each lossy label map that has too many."""
    expected: Mapping[str, Expected] = field(default_factory=dict)


def diagnose(
    root: Path,
    layout: Literal["auto", "paired", "unpaired"],
    labels: Literal["auto", "A", "B"] | None,
    thresholds: Thresholds,
    workers: int,
    begin: Callable[[int], Callable[[], None]],
    expected: Mapping[str, Expected] | None = None,
) -> Diagnosis:
    """Diagnose the set in a folder; `expected` is what the images of domains A, B hold that are read by their values.

    `begin` is called with the number of files, and returns a function that is called after each file.

    Raises:
        ConfigError: the folder is not there, or cannot be read.
    """
    t = thresholds
    expected = expected or {}
    stock = scan(root, layout, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about what is a finding here
        facts = read_all(stock.items, workers, begin(len(stock.items)), expected)
        domain, palette = _labels(facts, labels, expected)
        drifted = _drift(facts, domain, palette, t, workers)
    findings = [*stock.findings, *_files(facts, t.min_side, t.max_aspect), *_balance(stock, t.imbalance)]
    findings += [*_contrast(facts, t.blank_std, t.low_std), *_domains(facts)]
    findings += value_findings([(f.item, values) for f in facts for values in f.values], t.clipped_share)
    if stock.paired:
        findings += _pairs(facts)
        findings += mask_findings(stock, {f.item.path: image_size(f) for f in facts if f.trouble is None}, workers)
    findings += _duplicate_findings(facts, stock.paired, domain, t)
    if palette is not None and domain is not None:
        findings += _drift_findings(facts, drifted, palette, domain)
    return Diagnosis(stock, facts, findings, domain, palette, drifted, expected)


def _duplicate_findings(facts: Sequence[Facts], paired: bool, labels: str | None, t: Thresholds) -> Iterator[Finding]:
    groups = duplicates.samples_of(facts, paired)
    for samples in groups:
        yield from duplicates.exact(samples)
        yield from duplicates.near(samples, t.near_distance, t.near_difference, t.blank_std, labels)
        yield from duplicates.twins(samples)
        yield from duplicates.one_side(samples, labels, t.blank_std)
    if not paired:
        yield from duplicates.both_domains(*groups)


def _labels(
    facts: Sequence[Facts], labels: Literal["auto", "A", "B"] | None, expected: Mapping[str, Expected]
) -> tuple[Literal["A", "B"] | None, Palette | None]:
    """The domain of label maps and its palette."""
    if labels is None:
        return None, None
    both: tuple[Literal["A", "B"], ...] = ("A", "B")
    for domain in [d for d in both if d not in expected] if labels == "auto" else (labels,):
        images = [view.colours for f in facts for view in f.views if view.domain == domain]
        palette = find_palette(images, certain=labels != "auto")
        if palette is not None or labels != "auto":
            return domain, palette
    return None, None


def _drift(
    facts: Sequence[Facts], labels: str | None, palette: Palette | None, t: Thresholds, workers: int
) -> dict[Path, float]:  # fmt: skip
    if palette is None or palette.lossless:
        return {}
    maps = [f for f in facts for view in f.views if view.domain == labels]

    def share(f: Facts) -> float:
        image = dict(parts(f.item, to_array(read_image(f.item.path))))[labels or ""]
        return float(off_palette(image, palette, t.drift_levels).mean())

    with ThreadPoolExecutor(workers) as pool:
        fractions = pool.map(share, maps)
        return {f.item.path: part for f, part in zip(maps, fractions, strict=True) if part > t.drift_share}


def _drift_findings(
    facts: Sequence[Facts], drifted: dict[Path, float], palette: Palette, labels: str
) -> Iterator[Finding]:  # fmt: skip
    for f in facts:
        if f.item.path in drifted:
            what = f"{f.item.name}: {drifted[f.item.path]:.1%} of the label map ({labels}, {f.format}) is off the "
            what += f"{len(palette.colours)} colours of the set"
            show = ((f.item.path, labels),)
            yield Finding("label_drift", what, (f.item.name,), drifted[f.item.path], pictures=show)


def _files(facts: Sequence[Facts], min_side: int, max_aspect: float) -> Iterator[Finding]:
    """Findings about each file by itself."""
    for f in facts:
        if f.trouble is not None:
            yield _of(f, f.trouble[0], f.trouble[1])
            continue
        yield from _shape(f, min_side, max_aspect)
        if not f.values:
            yield from _coding(f)


def _of(f: Facts, check: str, message: str, value: float = 0.0) -> Finding:
    return Finding(check, message, (f.item.name,), value, pictures=((f.item.path, "AB"),))


def image_size(f: Facts) -> tuple[int, int]:
    """Width and height of one image of a file."""
    return (f.width // 2 if f.item.domain == "AB" else f.width), f.height


def _shape(f: Facts, min_side: int, max_aspect: float) -> Iterator[Finding]:
    width, height = image_size(f)
    if f.item.domain == "AB" and f.width % 2:
        yield _of(f, "odd_width", f"{f.item.name} is {f.width} pixels wide, so it has no two equal halves")
    elif min(width, height) < min_side:
        each = "each image of " if f.item.domain == "AB" else ""
        yield _of(f, "too_small", f"{each}{f.item.name} is {width}x{height} pixels", -min(width, height))
    elif max(width / height, height / width) > max_aspect:
        ratio = max(width / height, height / width)
        yield _of(f, "aspect", f"{f.item.name} is {width}x{height} pixels, {ratio:.1f} times longer", ratio)


def _coding(f: Facts) -> Iterator[Finding]:
    name = f.item.name
    if f.damage:
        yield _of(f, "damaged_jpeg", f"{name} can be decoded, but is damaged ({f.damage})")
    if f.bits > 8:
        number = f"{f.bits}-bit floating-point" if f.mode == "F" else f"{f.bits}-bit"
        dark = "; they would be almost black" if f.mode != "F" and f.bits == 16 and 0 < f.high < 16_384 else ""
        known = f" from {f.low:g} to {f.high:g}" if f.high != f.low and f.mode not in ("RGB", "RGBA") else ""
        yield _of(f, "bit_depth", f"{name} has {number} values{known}, of which training keeps 8 bits{dark}", f.bits)
        if f.mode == "F" and (f.low < 0 or f.high > 1):
            yield _of(f, "value_range", f"{name} has values from {f.low:g} to {f.high:g}", f.high - f.low)
    if f.alpha:
        yield _of(f, "alpha", f"{name} has transparency ({f.mode})")
    if f.frames > 1:
        yield _of(f, "frames", f"{name} has {f.frames} pages or frames ({f.format})", f.frames)
    if f.orientation != 1:
        yield _of(f, "orientation", f"{name} is turned by EXIF orientation {f.orientation}")
    if f.mode in ("P", "PA"):
        yield _of(f, "palette", f"{name} has a palette ({f.format})")
    if f.mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "I", "F") and f.bits == 8:
        yield _of(f, "mode", f"{name} is {f.mode}, which training turns into RGB without its colour profile", 2.0)


def _contrast(facts: Sequence[Facts], blank: float, low: float) -> Iterator[Finding]:
    """Images that hardly show anything, by the largest standard deviation of their channels in grey levels."""
    for f in facts:
        for view in f.views:
            side = f" ({view.domain})" if f.item.domain == "AB" else ""
            if view.std < low:
                check = "blank" if view.std < blank else "low_contrast"
                what = f"{f.item.name}{side} has a standard deviation of {view.std:.1f} levels"
                yield Finding(check, what, (f.item.name,), -view.std, pictures=((f.item.path, view.domain),))


def _pairs(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Pairs in two files that differ in size."""
    first: dict[tuple[str, str], Facts] = {}
    for f in facts:
        if f.trouble is not None or f.item.domain == "AB":
            continue
        other = first.setdefault((f.item.split, f.item.key), f)
        if other.item.domain != f.item.domain and (other.width, other.height) != (f.width, f.height):
            what = f"{other.item.name} ({other.width}x{other.height}) and {f.item.name} ({f.width}x{f.height})"
            show = ((other.item.path, other.item.domain), (f.item.path, f.item.domain))
            yield Finding("pair_size", f"{what} are a pair", (other.item.name, f.item.name), pictures=show)


def channels_of_domains(facts: Sequence[Facts]) -> dict[str, Counter[str]]:
    """How many readable files of each domain are gray and how many colour."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for f in facts:
        if f.trouble is None:
            found[f.item.domain][f.channels] += 1
    return found


def _domains(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Files of a domain that have other channels than most of it, and how many sizes there are."""
    for domain, kinds in sorted(channels_of_domains(facts).items()):
        group = [f for f in facts if f.trouble is None and f.item.domain == domain]
        where = "the set" if domain == "AB" else f"domain {domain}"
        usual, most = kinds.most_common(1)[0]
        for f in group:
            if f.channels != usual and not f.values:
                what = f"{f.item.name} is {f.channels} ({f.mode}), while {most} of {len(group)} in {where} are {usual}"
                yield _of(f, "mode", what, 1.0)
        sizes = Counter(image_size(f) for f in group)
        if len(sizes) > 1:
            (width, height), most = sizes.most_common(1)[0]
            widths, heights = sorted(w for w, _ in sizes), sorted(h for _, h in sizes)
            what = (
                f"images of {where} have {len(sizes)} sizes, {widths[0]} to {widths[-1]} wide and {heights[0]} to "
                f"{heights[-1]} high; {most} of {len(group)} are {width}x{height}"
            )
            yield Finding("sizes", what, count=len(group) - most)


def _balance(stock: Inventory, ratio: float) -> Iterator[Finding]:
    """Unpaired domains of the training split that differ in number."""
    numbers = stock.counts().get("train")
    if stock.paired or numbers is None or not min(numbers.values()):
        return
    if max(numbers.values()) > ratio * min(numbers.values()):
        yield Finding("imbalance", f"train has {numbers['A']} images in A and {numbers['B']} in B")
