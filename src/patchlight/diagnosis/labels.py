"""Label maps: told from photos, with their palette, and the pixels that lossy files moved off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from patchlight.data.images import Array

Colours = NDArray[np.int32]
"""N 3, RGB."""

RADIUS = 24
"""Levels of the channel that differs most: colours so near to one of the palette may be meant to be it."""

NEAR = 8
"""Pixels within so many levels count as that colour."""

CORE = 4
"""A colour of a palette is a sharp peak: most of what is around it lies within so many levels."""

PEAKED = 0.4
SMALLEST = 0.0005
"""Of all pixels: the share that flat pixels around a colour of the palette have at least."""

MOST = 64
"""A palette of more colours is not looked for in lossy files."""

SHARP = 0.5
"""How much of what is around the palette's colours is close to them, the most frequent colour left aside. CMP Facade's
label maps as JPEG have 0.7, photos 0.15 to 0.3."""

COVERED = 0.5
"""Of the pixels without those of the most frequent colour: the share that is around the palette's colours."""

NINE = np.ones((3, 3), np.uint8)
"""A pixel and its neighbours."""

REACH = 17
"""Pixels of the square around one whose colours it may be snapped to: twice a block of JPEG."""


@dataclass(frozen=True)
class Histogram:
    """The most frequent colours of an image.

    `fractions` are of its pixels; `flat` counts only those whose eight neighbours have the same colour, or nearly.
    `complete` says whether those are all of its colours, `lossy` whether its file may have changed them.
    """

    colours: Colours
    fractions: NDArray[np.float64]
    flat: NDArray[np.float64]
    complete: bool
    lossy: bool


@dataclass(frozen=True)
class Palette:
    """The colours of a set's label maps. `lossless`: no pixel has another."""

    colours: Colours
    lossless: bool

    def hex(self) -> list[str]:
        return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in self.colours.tolist()]


def histogram(image: Array, top: int, step: int = 1, lossy: bool = False) -> Histogram:
    """The colours of every `step`-th pixel of an H W 3 image in both directions, the most frequent first."""
    image = np.ascontiguousarray(image)
    spread = np.asarray(cv2.subtract(cv2.dilate(image, NINE), cv2.erode(image, NINE)))[::step, ::step]
    level = (spread[..., 0] <= CORE) & (spread[..., 1] <= CORE) & (spread[..., 2] <= CORE)
    values = image[::step, ::step].astype(np.int32)
    # The last bit says whether the pixel is flat, so that one sorting does for both counts.
    packed = (values[..., 0] << 17 | values[..., 1] << 9 | values[..., 2] << 1 | level).ravel()
    found, numbers = np.unique(packed, return_counts=True)
    begins = np.flatnonzero(np.diff(found >> 1, prepend=-1))
    total, flat = np.add.reduceat(numbers, begins), np.add.reduceat(numbers * (found & 1), begins)
    order = np.argsort(-total, kind="stable")[:top]
    colours = _unpack(found[begins[order]] >> 1)
    return Histogram(colours, total[order] / packed.size, flat[order] / packed.size, total.size <= top, lossy)


def _unpack(packed: NDArray[np.int32]) -> Colours:
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.int32)


def find_palette(images: Sequence[Histogram], certain: bool = False) -> Palette | None:
    """The palette of a domain, or None where its images are no label maps; `certain` if the user says they are."""
    if not images:
        return None
    colours, flat = _merge_histograms(images)
    if all(image.complete and not image.lossy for image in images):
        grey = bool((colours == colours[:, :1]).all())
        if len(colours) <= (MOST if grey else 256):  # grey photos have up to 256 colours, too
            return Palette(colours, lossless=True)
    palette = _peaks(colours, flat)
    if len(palette) < 2 or not (certain or _is_sharp(palette, images)):
        return None
    return Palette(palette, lossless=False)


def _merge_histograms(images: Sequence[Histogram]) -> tuple[Colours, NDArray[np.float64]]:
    """The colours of all images and the mean shares of their flat pixels, the most frequent first."""
    colours = np.concatenate([image.colours for image in images])
    packed = colours[:, 0] << 16 | colours[:, 1] << 8 | colours[:, 2]
    found, place = np.unique(packed, return_inverse=True)
    fractions = np.bincount(place, np.concatenate([image.flat for image in images])) / len(images)
    order = np.argsort(-fractions, kind="stable")
    return _unpack(found[order].astype(np.int32)), fractions[order]


def _peaks(colours: Colours, fractions: NDArray[np.float64]) -> Colours:
    """The colours that are much more frequent than what is around them.

    Flat pixels are counted, as between two classes lies a mixture that may be the same everywhere.
    """
    left = np.ones(len(colours), bool)
    found: list[int] = []
    for i in range(len(colours)):
        if fractions[i] < SMALLEST / 20 or len(found) == MOST:  # a peak has a good part of its share in one place
            break
        if not left[i]:
            continue
        distance = np.abs(colours - colours[i]).max(axis=1)
        own = left & (distance <= RADIUS)
        share = fractions[own].sum()
        left &= ~own
        if share >= SMALLEST and fractions[own & (distance <= CORE)].sum() >= PEAKED * share:
            found.append(i)
    return colours[found]


def _is_sharp(palette: Colours, images: Sequence[Histogram]) -> bool:
    """Whether in most images pixels lie at the palette's colours, and not anywhere around them.

    The most frequent colour is left aside: photos on a white background have that in common with label maps.
    """
    votes = 0
    for image in images:
        distances = np.abs(image.colours[:, None] - palette[None]).max(axis=2)
        closest, which = distances.min(axis=1), distances.argmin(axis=1)
        other = (which != 0) | (closest > RADIUS)
        rest = image.fractions[other].sum()
        around = image.fractions[other & (closest <= RADIUS)].sum()
        near = image.fractions[other & (closest <= NEAR)].sum()
        votes += bool(around >= COVERED * rest and near >= SHARP * around)
    return votes > len(images) / 2


def off_palette(image: Array, palette: Palette, tolerance: int) -> NDArray[np.bool_]:
    """Which pixels of an H W 3 image have no colour of the palette within `tolerance` levels; H W."""
    image = np.ascontiguousarray(image)
    near = np.zeros(image.shape[:2], np.uint8)
    for colour in palette.colours:
        near |= _within(image, colour, tolerance)
    return np.asarray(near == 0)


def _within(image: Array, colour: Colours, tolerance: int) -> Array:
    """255 where all channels are within `tolerance` levels of the colour, 0 elsewhere; H W."""
    low, high = (colour - tolerance).clip(0, 255), (colour + tolerance).clip(0, 255)
    return np.asarray(cv2.inRange(image, low.astype(np.uint8), high.astype(np.uint8)))


def snap(image: Array, palette: Palette, tolerance: int) -> Array:
    """An H W 3 label map with every pixel in the nearest of the palette's colours that is found around it.

    A pixel between two classes is a mixture of their colours, which may be next to a third class. So only colours are
    chosen that some patch of 2 x 2 pixels within `REACH` has to within `tolerance`.
    """
    image = np.ascontiguousarray(image)
    values = image.astype(np.int32)
    best = np.full(image.shape[:2], np.iinfo(np.int32).max, np.int32)
    anywhere = best.copy()
    chosen, fallback = np.zeros(image.shape[:2], np.int32), np.zeros(image.shape[:2], np.int32)
    square = np.ones((REACH, REACH), np.uint8)
    for i, colour in enumerate(palette.colours):
        difference = values - colour
        distance = (difference * difference).sum(axis=2, dtype=np.int32)
        patches = cv2.morphologyEx(_within(image, colour, tolerance), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
        allowed = cv2.dilate(patches, square).astype(bool)
        closer = allowed & (distance < best)
        best[closer], chosen[closer] = distance[closer], i
        closer = distance < anywhere
        anywhere[closer], fallback[closer] = distance[closer], i
    chosen = np.where(best == np.iinfo(np.int32).max, fallback, chosen)
    return palette.colours[chosen].astype(np.uint8)
