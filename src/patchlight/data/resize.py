"""Pillow's bicubic resize with antialiasing, faster than Pillow and to the same bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import embedding_bag

Array = NDArray[np.uint8]

Size = tuple[int, int]
"""Height and width in pixels."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""

SUPPORT = 2.0
"""Half the width of the bicubic kernel, in pixels of the larger grid."""

BITS = 22
"""Pillow rounds the weights of a row to this many binary places, and computes with integers from there on."""

HALF = 1 << BITS // 2

MOST_SHRINKING = 2.5
"""Where a side shrinks more than this, Pillow is as fast. (From 7 times on, float32 does not hold all sums exactly.)"""

STRIP = 1536
"""Values of a row that are computed at a time, which bounds the memory for their copies in float32."""


def resize(image: Array, size: Size, box: Box | None = None) -> Array:
    """An H W C image resized to `size`, or the part `box` of that, without computing the rest.

    Pillow's own `resize(box=...)` places its kernels anew for the part, which rounds some pixels the other way.
    """
    height, width = size
    left, top, right, bottom = box or (0, 0, width, height)
    if image.shape[:2] == size:
        return image[top:bottom, left:right]
    if not _pays(image.shape, size):
        return _by_pillow(image, size)[top:bottom, left:right]
    # As Pillow: first along the rows, for as many of them as are needed, then along the columns.
    down = _taps(image.shape[0], height, top, bottom)
    image = image[down.first : down.last]
    if image.shape[1] == width:
        image = image[:, left:right]
    else:
        along = _taps(image.shape[1], width, left, right)
        image = _turned(_combine(_turned(image)[along.first : along.last], along))
    return image if down.weights is None else _combine(image, down)


def _pays(before: tuple[int, ...], after: Size) -> bool:
    """Whether this is faster than Pillow, and the order of its two passes is known.

    That order is the same in all releases unless the image becomes lower, and does not matter if only one side changes.
    """
    (height, width), (new_height, new_width) = before[:2], after
    ordered = new_height >= height or new_width == width
    return ordered and max(height / new_height, width / new_width) <= MOST_SHRINKING


def _by_pillow(image: Array, size: Size) -> Array:
    channels = image.shape[2]
    picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC)).reshape(*size, channels)


@dataclass(frozen=True)
class Taps:
    """Which rows, counted from `first`, with which weights make each row of the result.

    The weights of Pillow are split into a high and a low part, so that float32 holds every sum of products exactly: the
    first half of the rows are the high parts, the second half the low ones, in units of one and of 2^-11 grey values.
    `weights` is None where the rows stay as they are.
    """

    first: int
    last: int
    indices: Tensor
    offsets: Tensor
    weights: Tensor | None


@lru_cache(maxsize=512)
def _taps(n_in: int, n_out: int, start: int, stop: int) -> Taps:
    """The taps of the rows from `start` to `stop` of `n_out`, which are made of `n_in`."""
    if n_in == n_out:
        return Taps(start, stop, torch.empty(0), torch.empty(0), None)
    begin, weights = _kernels(n_in, n_out)
    begin, weights = begin[start:stop], weights[start:stop]
    used = weights != 0
    rows = begin[:, None] + np.arange(weights.shape[1])
    indices = rows[used]
    first, last = int(indices.min()), int(indices.max()) + 1
    ends = np.cumsum(used.sum(axis=1))
    offsets = np.concatenate([[0], ends[:-1]])
    high = weights[used] // HALF
    low = weights[used] - high * HALF
    return Taps(
        first,
        last,
        torch.from_numpy(np.tile(indices - first, 2)),
        torch.from_numpy(np.concatenate([offsets, offsets + ends[-1]])),
        torch.from_numpy(np.concatenate([high, low]).astype(np.float32) / HALF),
    )


@lru_cache(maxsize=64)
def _kernels(n_in: int, n_out: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each of `n_out` rows the first row that it is made of, and the weights from there on, times 2^22.

    The order of the operations is Pillow's: another would change the last bit of some weights.
    """
    scale = n_in / n_out
    stretch = max(scale, 1.0)
    centre = (np.arange(n_out) + 0.5) * scale
    begin = np.maximum((centre - SUPPORT * stretch + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + SUPPORT * stretch + 0.5).astype(np.int64), n_in)
    taps = np.arange((end - begin).max())
    weights = _cubic((taps + begin[:, None] - centre[:, None] + 0.5) * (1.0 / stretch))
    weights[taps >= (end - begin)[:, None]] = 0.0
    weights /= np.cumsum(weights, axis=1)[:, -1:]
    rounded = np.trunc(weights * (1 << BITS) + np.where(weights < 0, -0.5, 0.5))
    return begin, rounded.astype(np.int64)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = -1/2."""
    a = -0.5
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _combine(image: Array, taps: Taps) -> Array:
    """Rows of weighted sums of the rows of an H W C image, rounded half up and clipped to 8 bits, as Pillow does it."""
    shape = image.shape
    rows = image.reshape(shape[0], -1)
    n_out = len(taps.offsets) // 2
    result = np.empty((n_out, rows.shape[1]), np.uint8)
    for strip in range(0, rows.shape[1], STRIP):
        columns = slice(strip, strip + STRIP)
        values = torch.from_numpy(rows[:, columns].astype(np.float32))
        sums = embedding_bag(
            taps.indices, values, taps.offsets, mode="sum", per_sample_weights=taps.weights
        ).numpy()  # fmt: skip
        high, low = sums[:n_out], sums[n_out:]
        np.floor(low, out=low)
        # Half of the smallest step is added: OpenCV rounds halves to even, and now there are none.
        cv2.addWeighted(high, 1.0, low, 1 / HALF, 0.5 / HALF, dst=result[:, columns], dtype=cv2.CV_8U)
    return result.reshape(n_out, *shape[1:])


def _turned(image: Array) -> Array:
    """Rows for columns."""
    height, width, channels = image.shape
    return cv2.transpose(image).reshape(width, height, channels)  # type: ignore[return-value]
