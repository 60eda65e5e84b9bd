"""Checks of single files by their facts, and of a set as a whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from patchlight.diagnosis.findings import Finding
from patchlight.diagnosis.inventory import Inventory
from patchlight.diagnosis.reading import Facts


def files(facts: Sequence[Facts], min_side: int, max_aspect: float) -> Iterator[Finding]:
    """Findings about each file by itself."""
    for f in facts:
        if f.trouble is not None:
            yield _of(f, f.trouble[0], f.trouble[1])
            continue
        yield from _shape(f, min_side, max_aspect)
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


def contrast(facts: Sequence[Facts], blank: float, low: float) -> Iterator[Finding]:
    """Images that hardly show anything, by the largest standard deviation of their channels in grey levels."""
    for f in facts:
        for view in f.views:
            side = f" ({view.domain})" if f.item.domain == "AB" else ""
            if view.std < low:
                check = "blank" if view.std < blank else "low_contrast"
                what = f"{f.item.name}{side} has a standard deviation of {view.std:.1f} levels"
                yield Finding(check, what, (f.item.name,), -view.std, pictures=((f.item.path, view.domain),))


def pairs(facts: Sequence[Facts]) -> Iterator[Finding]:
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


def domains(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Files of a domain that have other channels than most of it, and how many sizes there are."""
    groups: dict[str, list[Facts]] = defaultdict(list)
    for f in facts:
        if f.trouble is None:
            groups[f.item.domain].append(f)
    for domain, group in sorted(groups.items()):
        where = "the set" if domain == "AB" else f"domain {domain}"
        kinds = Counter(f.channels for f in group)
        usual, most = kinds.most_common(1)[0]
        for f in group:
            if f.channels != usual:
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


def balance(stock: Inventory, ratio: float) -> Iterator[Finding]:
    """Unpaired domains of the training split that differ in number."""
    numbers = stock.counts().get("train")
    if stock.paired or numbers is None or not min(numbers.values()):
        return
    if max(numbers.values()) > ratio * min(numbers.values()):
        yield Finding("imbalance", f"train has {numbers['A']} images in A and {numbers['B']} in B")
