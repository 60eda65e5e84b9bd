"""Duplicate images: exact ones by their pixels, near ones by perceptual hashes, verified on small versions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchlight.diagnosis.findings import Finding
from patchlight.diagnosis.reading import Facts, View

CHUNK = 1024
"""Evaluation images that are compared with all training images at a time, which bounds the memory."""

LABEL_FACTOR = 2.0
"""Label maps have hard edges, so that the same map differs more from itself if it was moved by a pixel."""


@dataclass(frozen=True)
class Sample:
    """A unit of comparison: both images of a pair, or one image of an unpaired set."""

    split: str
    views: tuple[View, ...]
    files: tuple[str, ...]
    paths: tuple[Path, ...]

    @property
    def name(self) -> str:
        return self.files[0]

    @property
    def digest(self) -> tuple[bytes, ...]:
        return tuple(view.digest for view in self.views)

    def pictures(self) -> tuple[tuple[Path, str], ...]:
        if len(self.paths) == 1:
            return ((self.paths[0], "AB" if len(self.views) == 2 else self.views[0].domain),)
        return tuple((path, view.domain) for path, view in zip(self.paths, self.views, strict=True))


def samples_of(facts: Sequence[Facts], paired: bool) -> list[list[Sample]]:
    """The samples of a set, in lists within which they are to be compared: one for pairs, otherwise one a domain."""
    if not paired:
        found: dict[str, list[Sample]] = {"A": [], "B": []}
        for f in facts:
            for view in f.views:
                found[view.domain].append(Sample(f.item.split, (view,), (f.item.name,), (f.item.path,)))
        return list(found.values())
    pairs: dict[tuple[str, str, str], list[Facts]] = defaultdict(list)
    for f in facts:
        if f.views:
            pairs[f.item.split, f.item.key, f.item.name if f.item.domain == "AB" else ""].append(f)
    samples = []
    for (split, _, _), group in pairs.items():
        views = tuple(view for f in group for view in f.views)
        if len(views) == 2:
            names, paths = tuple(f.item.name for f in group), tuple(f.item.path for f in group)
            samples.append(Sample(split, views, names, paths))
    return [samples]


def exact(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Samples with the same pixels, in two splits or in one."""
    same: dict[tuple[bytes, ...], list[Sample]] = defaultdict(list)
    for sample in samples:
        same[sample.digest].append(sample)
    for group in same.values():
        first = next((s for s in group if s.split == "train"), group[0])
        for split in dict.fromkeys(s.split for s in group):
            own = [s for s in group if s.split == split]
            if split != first.split:
                yield _finding("leak", f"{own[0].name} is also {first.name}", own[0], first, value=1.0)
            for other in own[1:]:
                yield _finding("duplicate", f"{other.name} has the same pixels as {own[0].name}", other, own[0])


def near(
    samples: Sequence[Sample], distance: int, difference: float, blank: float, labels: str | None
) -> Iterator[Finding]:
    """Evaluation samples that are nearly one of the training, perhaps mirrored.

    Candidates are those whose perceptual hashes differ in at most `distance` of 64 bits, in all domains but that of
    label maps, whose flat shapes are often alike. They count if their small versions differ by at most `difference`
    levels (root mean square), label maps by at most twice that. Blank images are left out.
    """
    visible = [s for s in samples if all(view.std > blank for view in s.views)]
    train = [s for s in visible if s.split == "train"]
    known = {s.digest for s in train}
    others = [s for s in visible if s.split != "train" and s.digest not in known]
    if not train or not others:
        return
    for mirrored in (False, True):
        for start in range(0, len(others), CHUNK):
            chunk = others[start : start + CHUNK]
            close = np.ones((len(chunk), len(train)), bool)
            for d, view in enumerate(train[0].views):
                if view.domain != labels or len(train[0].views) == 1:
                    close &= _bits_apart([s.views[d] for s in chunk], [s.views[d] for s in train], mirrored) <= distance
            yield from _verified(chunk, train, close, mirrored, difference, labels)


def _bits_apart(a: Sequence[View], b: Sequence[View], mirrored: bool) -> NDArray[np.float32]:
    first = np.stack([view.mirrored if mirrored else view.hash for view in a])
    return np.asarray((first.shape[1] - first @ np.stack([view.hash for view in b]).T) / 2, np.float32)


def _verified(
    chunk: Sequence[Sample], train: Sequence[Sample], close: NDArray[np.bool_], mirrored: bool, difference: float,
    labels: str | None,
) -> Iterator[Finding]:  # fmt: skip
    for row, sample in enumerate(chunk):
        best: tuple[float, Sample] | None = None
        for column in np.flatnonzero(close[row]).tolist():
            apart = _levels_apart(sample, train[column], mirrored, labels)
            if apart <= difference and (best is None or apart < best[0]):
                best = apart, train[column]
        if best is not None:
            how = "the mirror image of " if mirrored else ""
            what = f"{sample.name} is nearly {how}{best[1].name} ({best[0]:.1f} levels apart)"
            yield _finding("near_leak", what, sample, best[1], value=1 / (1 + best[0]))


def _levels_apart(a: Sample, b: Sample, mirrored: bool, labels: str | None) -> float:
    """The largest root mean square difference of any domain, that of label maps by its factor."""
    apart = []
    for own, other in zip(a.views, b.views, strict=True):
        small = own.small[:, ::-1] if mirrored else own.small
        rms = float(np.sqrt(np.mean((small.astype(np.float32) - other.small) ** 2)))
        apart.append(rms / (LABEL_FACTOR if own.domain == labels and len(a.views) == 2 else 1.0))
    return max(apart)


def one_side(samples: Sequence[Sample], labels: str | None, blank: float) -> Iterator[Finding]:
    """Pairs of two splits that share one of their images, label maps aside."""
    if not samples or len(samples[0].views) != 2:
        return
    pairs = {s.digest for s in samples if s.split == "train"}
    for d, domain in enumerate(("A", "B")):
        if domain == labels:
            continue
        train = {s.views[d].digest: s for s in samples if s.split == "train"}
        for s in samples:
            twin = train.get(s.views[d].digest)
            if s.split != "train" and twin is not None and s.digest not in pairs and s.views[d].std > blank:
                what = f"{s.name} and {twin.name} have the same {domain}, but different partners of it"
                yield _finding("one_side", what, s, twin)


def twins(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Pairs whose two images are the same."""
    for s in samples:
        if len(s.views) == 2 and s.views[0].digest == s.views[1].digest:
            yield Finding("twins", f"{s.name} has the same image as A and as B", s.files, pictures=s.pictures())


def both_domains(a: Sequence[Sample], b: Sequence[Sample]) -> Iterator[Finding]:
    """Images of an unpaired set that are in both domains."""
    known = {s.digest: s for s in a}
    for s in b:
        if s.digest in known:
            twin = known[s.digest]
            yield _finding("both_domains", f"{s.name} has the same pixels as {twin.name}", s, twin)


def _finding(check: str, what: str, sample: Sample, other: Sample, value: float = 0.0) -> Finding:
    return Finding(check, what, sample.files + other.files, value, pictures=sample.pictures() + other.pictures())
