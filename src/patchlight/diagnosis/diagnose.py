"""Diagnosis of a set: all checks, one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from patchlight.data.images import read_image, to_array
from patchlight.diagnosis import checks, duplicates
from patchlight.diagnosis.findings import Finding
from patchlight.diagnosis.inventory import Inventory, scan
from patchlight.diagnosis.labels import Palette, find_palette, off_palette
from patchlight.diagnosis.reading import Facts, parts, read_all


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


def diagnose(
    root: Path,
    layout: Literal["auto", "paired", "unpaired"],
    labels: Literal["auto", "A", "B"] | None,
    thresholds: Thresholds,
    workers: int,
    begin: Callable[[int], Callable[[], None]],
) -> Diagnosis:
    """Diagnose the set in a folder.

    `begin` is called with the number of files, and returns a function that is called after each file.

    Raises:
        ConfigError: the folder is not there, or cannot be read.
    """
    t = thresholds
    stock = scan(root, layout)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about what is a finding here
        facts = read_all(stock.items, workers, begin(len(stock.items)))
        domain, palette = _labels(facts, labels)
        drifted = _drift(facts, domain, palette, t, workers)
    findings = [*stock.findings, *checks.files(facts, t.min_side, t.max_aspect), *checks.balance(stock, t.imbalance)]
    findings += [*checks.contrast(facts, t.blank_std, t.low_std), *checks.domains(facts)]
    if stock.paired:
        findings += checks.pairs(facts)
    findings += _duplicate_findings(facts, stock.paired, domain, t)
    if palette is not None and domain is not None:
        findings += _drift_findings(facts, drifted, palette, domain)
    return Diagnosis(stock, facts, findings, domain, palette, drifted)


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
    facts: Sequence[Facts], labels: Literal["auto", "A", "B"] | None
) -> tuple[Literal["A", "B"] | None, Palette | None]:
    """The domain of label maps and its palette."""
    if labels is None:
        return None, None
    both: tuple[Literal["A", "B"], ...] = ("A", "B")
    for domain in both if labels == "auto" else (labels,):
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
