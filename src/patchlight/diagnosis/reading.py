"""Decodes each image once, as training does, and keeps the facts that the checks need."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from patchlight.data.decoding import values_header
from patchlight.data.images import Array, read_image, to_array
from patchlight.diagnosis.inventory import Item, parts
from patchlight.diagnosis.labels import Histogram, histogram
from patchlight.diagnosis.values import Expected, ValueFacts, read_parts
from patchlight.errors import DataError, printable
from patchlight.system.image_file import NEXT_FILE, open_image

SMALL = 32
"""Pixels of the sides of the small version by which images are compared."""

SAMPLE = 16_384
"""About so many pixels of an image are looked at to find out whether it is a label map."""

TOP = 256
"""So many of its colours are kept."""

BITS_PER_SAMPLE = 258

TRY_JPEGS = "import json, sys; from patchlight.system.image_file import try_jpegs; try_jpegs(json.load(sys.stdin))"

WORTH_A_PROCESS = 100
"""So many files take about as long as starting a process."""

LOSSY = ("JPEG", "MPO", "WEBP", "JPEG2000")
"""Formats that may change colours."""


@dataclass(frozen=True)
class View:
    """The facts of an image of one domain, which is a file or the half of one.

    `digest` stands for all pixels, `small` is SMALL x SMALL RGB, `hash` and `mirrored` are 64 perceptual bits each, of
    it and of its mirror image, as -1 and 1; `std` is in grey levels, the largest of the three channels'.
    """

    domain: str
    digest: bytes
    small: Array
    hash: NDArray[np.float32]
    mirrored: NDArray[np.float32]
    std: float
    colours: Histogram


@dataclass(frozen=True)
class Facts:
    """The facts of a file. `width` and `height` are those of the upright image, 0 where it cannot be read.

    `mode` is Pillow's, `channels` "gray" or "colour", `bits` those of a channel, `low` and `high` the range of values
    where there are more than 8. `values` are the facts of images that are read by their values, which have their types
    as `mode`. `damage` is what a decoder passed over. `trouble` is a check and what it says, where the file cannot be
    used.
    """

    item: Item
    format: str = ""
    mode: str = ""
    channels: str = ""
    bits: int = 8
    low: float = 0.0
    high: float = 0.0
    alpha: bool = False
    frames: int = 1
    orientation: int = 1
    width: int = 0
    height: int = 0
    views: tuple[View, ...] = ()
    values: tuple[ValueFacts, ...] = ()
    damage: str = ""
    trouble: tuple[str, str] | None = None


def read_all(
    items: Sequence[Item], workers: int, advance: Callable[[], None], expected: Mapping[str, Expected]
) -> list[Facts]:  # fmt: skip
    """The facts of all files, in their order; `advance` is called after each.

    The images of the domains of which something is `expected` are read by their values.
    """

    def read(item: Item) -> Facts:
        facts = read_facts(item, expected)
        advance()
        return facts

    with ThreadPoolExecutor(workers) as pool:
        facts = list(pool.map(read, items))
    photos = [f.item.path for f in facts if f.trouble is None and f.format in ("JPEG", "MPO")]
    damage = _passed_over(photos, workers) if photos else {}
    return [replace(f, damage=damage[f.item.path]) if f.item.path in damage else f for f in facts]


def _passed_over(paths: Sequence[Path], workers: int) -> dict[Path, str]:
    """The first remark of libjpeg on each JPEG file that it has one on: meaningless bits, missing pixels, left-overs.

    Pillow keeps it to itself. OpenCV lets libjpeg write it to the standard error output of the process, which is
    therefore one of its own here. Nothing is found where OpenCV was built without its messages.
    """
    processes = max(1, min(workers, len(paths) // WORTH_A_PROCESS))
    with ThreadPoolExecutor(processes) as pool:
        found = pool.map(_ask, [paths[i::processes] for i in range(processes)])
        return {path: remark for remarks in found for path, remark in remarks.items()}


def _ask(paths: Sequence[Path]) -> dict[Path, str]:
    names = json.dumps([str(path.absolute()) for path in paths]).encode()
    command = [sys.executable, "-c", TRY_JPEGS]
    output = subprocess.run(command, input=names, stderr=subprocess.PIPE, check=False).stderr.split(NEXT_FILE)
    remarks = (" ".join(text.decode("utf-8", "replace").split()) for text in output)
    return {path: remark for path, remark in zip(paths, remarks, strict=False) if remark}


def read_facts(item: Item, expected: Mapping[str, Expected]) -> Facts:
    """Decode a file and return its facts; an error of any kind becomes its `trouble`."""
    path = item.path
    try:
        if path.stat().st_size == 0:
            return Facts(item, trouble=("empty_file", f"{item.name} has no bytes"))
        if any(domain in item.domain for domain in expected):
            return _by_values(item, expected)
        with open_image(path) as file:
            mode = file.mode
            gray = mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;16")
            facts = Facts(
                item, format=file.format or "", mode=mode, channels="gray" if gray else "colour",
                bits=_bits(path, file), alpha=file.has_transparency_data, frames=int(getattr(file, "n_frames", 1)),
                orientation=int(file.getexif().get(ExifTags.Base.Orientation, 1)),
            )  # fmt: skip
        array = to_array(read_image(path))
        low, high = _range(path) if facts.bits > 8 else (0.0, 0.0)
    except DataError as error:
        return Facts(item, trouble=_trouble(item, str(error)))
    except Exception as error:  # a damaged file makes decoders raise all kinds
        reason = error.strerror if isinstance(error, OSError) and error.strerror else printable(str(error))
        return Facts(item, trouble=_trouble(item, f"{item.path} cannot be read as an image ({reason})"))
    views = tuple(_view(domain, part, facts.format in LOSSY) for domain, part in parts(item, array))
    height, width = array.shape[:2]
    return replace(facts, width=width, height=height, low=low, high=high, views=views)


def _by_values(item: Item, expected: Mapping[str, Expected]) -> Facts:
    """The facts of a file of which at least one image is read by its values."""
    header = values_header(item.path)
    found = read_parts(item, expected)
    values = tuple(facts for _, _, facts in found if facts is not None)
    kinds = " and ".join(dict.fromkeys(f"{v.bands} x {v.type}" for v in values))
    return Facts(
        item, format=header.format, mode=kinds, channels=f"{header.channels} bands", orientation=header.orientation,
        width=header.width, height=header.height, values=values,
        views=tuple(_view(domain, part, header.format in LOSSY) for domain, part, _ in found),
    )  # fmt: skip


def _trouble(item: Item, said: str) -> tuple[str, str]:
    """The check and the message for a decoder's error, without path and advice, which the report has elsewhere."""
    said = said.replace(f" {str(item.path)!r}", "").replace(f" '{item.path}'", "").replace(str(item.path), item.name)
    said = printable(said).partition(": replace or remove")[0].partition(": scale it down")[0]
    if "too large to be decoded" in said:
        return "too_large", said
    return ("truncated" if "truncated" in said.lower() else "unreadable"), said


def _bits(path: Path, file: Image.Image) -> int:
    """The bits of a channel in the file, which may be more than Pillow's mode has."""
    if file.mode in ("I", "F"):
        return 16 if file.format == "PNG" else 32
    if file.mode.startswith("I;16"):
        return 16
    if file.format == "PNG":
        with path.open("rb") as stream:
            return max(stream.read(25)[24], 8)
    if file.format == "TIFF":
        bits = file.tag_v2.get(BITS_PER_SAMPLE, 8)  # type: ignore[attr-defined]
        return max(*bits, 8) if isinstance(bits, tuple) else max(int(bits), 8)
    return 8


def _range(path: Path) -> tuple[float, float]:
    """The smallest and largest finite value of the file's own, where Pillow hands them out."""
    with open_image(path) as file:
        values = np.asarray(file)
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _view(domain: str, array: Array, lossy: bool) -> View:
    small = np.asarray(cv2.resize(np.ascontiguousarray(array), (SMALL, SMALL), interpolation=cv2.INTER_AREA), np.uint8)
    step = max(1, round((array.shape[0] * array.shape[1] / SAMPLE) ** 0.5))
    digest = hashlib.blake2b(repr(array.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    deviations = cv2.meanStdDev(array)[1]
    return View(
        domain=domain, digest=digest.digest(), small=small, hash=_phash(small), mirrored=_phash(small[:, ::-1]),
        std=float(np.max(deviations)), colours=histogram(array, TOP, step, lossy),
    )  # fmt: skip


def _phash(small: Array) -> NDArray[np.float32]:
    grey = Image.fromarray(np.ascontiguousarray(small)).convert("L")
    bits = imagehash.phash(grey, hash_size=8).hash.ravel()
    return np.where(bits, np.float32(1), np.float32(-1))
