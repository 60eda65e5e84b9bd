"""Images of any depth and any bands, whose values are kept in a range of their own: satellite, thermal, medical."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from patchlight.data.content import Content, Levels
from patchlight.data.image_files import NARROWED, Picture
from patchlight.data.transforms import Size, resize
from patchlight.errors import DataError

Depth = Literal["uint8", "uint16", "float32"]
"""The type of the values in the files of a domain."""

Limits = tuple[tuple[float, float], ...]
"""The lowest and the highest value of each band."""

DEFAULT_LIMITS: dict[Depth, tuple[float, float]] = {"uint8": (0, 255), "uint16": (0, 65535), "float32": (0, 1)}


@dataclass(frozen=True)
class Bands(Content):
    """Images of `n_channels` bands whose values, of the type `depth`, are mapped from their `limits` to [-1, 1].

    What a generator makes is mapped back to the limits and rounded where the depth is one of integers, so that values
    of files come back exactly, or in floating point to seven digits. Values outside of the limits are clipped. `bands`
    are the bands of a file that are read, counted from 1, None for all; `display` those of the image that pictures
    show, one or three, counted from 1 among the bands that were read. Limits of None are still to be measured.
    """

    depth: Depth
    n_channels: int
    limits: Limits | None
    bands: tuple[int, ...] | None = None
    display: tuple[int, ...] | None = None

    value_type = np.float32

    @property
    def channels(self) -> int:
        return self.n_channels

    @property
    def value_limits(self) -> Limits:
        assert self.limits is not None, "limits are measured before an image is read"
        return self.limits

    def describe(self) -> str:
        limits = list(dict.fromkeys(self.value_limits))
        said = ", ".join(f"{low:g} to {high:g}" for low, high in (limits if len(limits) == 1 else self.value_limits))
        bands = "" if self.bands is None else f", bands {', '.join(map(str, self.bands))} of the file"
        return f"{self.n_channels} channel{'s' * (self.n_channels > 1)} of {self.depth}, {said}{bands}"

    def key(self, domain: str) -> str:
        if self.bands is not None:
            return f"bands_{domain}={list(self.bands)}"
        return f"channels_{domain}={self.n_channels}"

    def check_header(self, channels: int, mode: str, format: str) -> None:
        if self.bands is not None:
            if max(self.bands) > channels:
                raise ValueError(
                    f"it has {channels} band{'s' * (channels > 1)}, and the bands {list(self.bands)} are wanted"
                )
        elif channels != self.n_channels:
            raise ValueError(f"it has {channels} band{'s' * (channels > 1)} where {self.n_channels} are wanted")

    def values(self, picture: Picture) -> NDArray[Any]:
        """The bands of a picture that are read, H W C, in its own values.

        Raises:
            ValueError: it has other bands or another type of values, or some are NaN or infinite.
        """
        if isinstance(picture, Image.Image) and picture.mode in ("P", "PA", "1"):
            raise ValueError("it has a palette, whose numbers are no values: use gray, RGB or a NumPy file")
        if isinstance(picture, Image.Image) and NARROWED in picture.info:
            raise ValueError(
                f"data.depth={self.depth}: it has 16 bits, of which its source reads 8: let that return an array"
            )
        array: NDArray[Any] = np.asarray(picture)
        array = array[:, :, None] if array.ndim == 2 else array
        if array.ndim != 3 or not array.size:
            raise ValueError(f"an array of shape {array.shape} is no image: it should be H W or H W C")
        self.check_header(array.shape[2], "", "")
        self.check_type(array)
        array = array if self.bands is None else array[:, :, [band - 1 for band in self.bands]]
        if self.depth == "float32":
            wrong = array.size - int(np.isfinite(array).sum())
            if wrong:
                raise ValueError(f"{wrong} of its {array.size} values are NaN or infinite")
        return array

    def check_type(self, array: NDArray[Any]) -> None:
        """Raise a ValueError unless the values of an array are of the depth, or fit into it."""
        found = array.dtype.newbyteorder("=")
        if self.depth == "float32":
            fits = found.kind in "uif"
        elif found.kind in "ui" and found != np.dtype(self.depth) and found.itemsize > 1 and self.depth == "uint16":
            # 16-bit gray files are read as wider integers by some decoders.
            fits = 0 <= int(array.min()) <= int(array.max()) <= 65535
        else:
            fits = found == np.dtype(self.depth)
        if not fits:
            raise ValueError(f"its values are {found} where data.depth={self.depth} wants others")

    def levels(self, picture: Picture) -> Levels:
        return self.to_unit(self.values(picture))

    def to_unit(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values H W C of a file as parts of their range, 0 to 1."""
        low, high = self._limits()
        unit = (values.astype(np.float32) - low) / (high - low)
        return unit.clip(0, 1)

    def from_file(self, levels: Levels) -> Levels:
        return self.to_unit(levels)

    def resize(self, image: Levels, size: Size) -> Levels:
        # Bicubic interpolation goes beyond the values that it is given.
        return image if image.shape[:2] == size else resize(image, size).clip(0, 1)

    def sample(self, image: Levels) -> Tensor:
        return self.to_values(super().sample(image), 1)

    def to_values(self, planes: Tensor, full: int) -> Tensor:
        return planes.to(torch.float32) * 2 - 1

    def to_levels(self, values: Tensor, sources: Tensor, full: int) -> Tensor:
        low, high = (torch.from_numpy(limit).to(values.device)[:, None, None] for limit in self._limits())
        unit = (values.detach().float().nan_to_num(nan=-1.0).clamp(-1, 1) + 1) / 2
        found = low + unit * (high - low)
        if self.depth == "float32":
            return found
        return found.round().to(torch.uint8 if self.depth == "uint8" else torch.int32)

    def written_type(self, read: np.dtype[Any]) -> np.dtype[Any]:
        return np.dtype(self.depth)

    def drawn(self, image: Tensor) -> Tensor:
        """The bands of an image, ... C H W, that pictures show: one or three."""
        numbers = self.display or ((1, 2, 3) if self.n_channels >= 3 else (1,))
        return image[..., [number - 1 for number in numbers], :, :]

    def _limits(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        low, high = np.array(self.value_limits, np.float32).T
        return low, high


def bands_of(
    domain: str, channels: int, depth: str, limits: Any, bands: Sequence[int] | None, display: Sequence[int] | None
) -> Bands | None:
    """What a domain `a` or `b` holds by its settings; None of images of 8 bits as colours.

    Raises:
        DataError: a setting out of range, by its key.
    """
    if depth not in get_args(Depth):
        raise DataError(f"data.depth_{domain}={depth} should be one of {', '.join(get_args(Depth))}")
    for name, numbers in (("bands", bands), ("display", display)):
        if numbers is not None and (not numbers or any(not isinstance(n, int) or n < 1 for n in numbers)):
            raise DataError(f"data.{name}_{domain}={numbers} should be numbers of bands, the first of which is 1")
    if bands is not None and len(bands) != channels:
        raise DataError(
            f"data.bands_{domain}={list(bands)} are {len(bands)} bands where data.channels_{domain}={channels}"
        )
    if display is not None and (len(display) not in (1, 3) or max(display) > channels):
        raise DataError(
            f"data.display_{domain}={list(display)} should be one or three numbers of bands from 1 to "
            f"data.channels_{domain}={channels}"
        )
    if depth == "uint8" and limits is None and bands is None and display is None:
        return None
    return Bands(
        depth=depth,  # type: ignore[arg-type]
        n_channels=channels,
        limits=limits_of(domain, channels, depth, limits),  # type: ignore[arg-type]
        bands=None if bands is None else tuple(bands),
        display=None if display is None else tuple(display),
    )


def limits_of(domain: str, channels: int, depth: Depth, given: Any) -> Limits | None:
    """The limits of each band that `data.range_a` or `data.range_b` gives; None where percentiles are to be measured.

    Raises:
        DataError: it gives no limits.
    """
    key = f"data.range_{domain}={given}"
    if given is None:
        return (DEFAULT_LIMITS[depth],) * channels
    if isinstance(given, dict):
        if set(given) != {"percentiles"}:
            raise DataError(f"{key} should be [low, high], a pair for each band, or {{percentiles: [low, high]}}")
        low, high = _pair(key, given["percentiles"])
        if not 0 <= low < high <= 100:
            raise DataError(f"{key} should have percentiles from 0 to 100, the lower one first")
        return None
    pairs = [given] * channels if all(isinstance(value, int | float) for value in given) else list(given)
    if len(pairs) != channels:
        raise DataError(f"{key} has {len(pairs)} pairs where data.channels_{domain}={channels}")
    limits = tuple(_pair(key, pair) for pair in pairs)
    bottom, top = DEFAULT_LIMITS[depth] if depth != "float32" else (-3e38, 3e38)
    for low, high in limits:
        if not bottom <= low < high <= top:
            within = "" if depth == "float32" else f" within {bottom:g} to {top:g}"
            raise DataError(
                f"{key} should have limits, the lower one first,{within} as data.depth_{domain}={depth} holds"
            )
    return limits


def _pair(key: str, given: Any) -> tuple[float, float]:
    if not isinstance(given, list | tuple) or len(given) != 2 or not all(isinstance(v, int | float) for v in given):
        raise DataError(f"{key} should be [low, high], a pair for each band, or {{percentiles: [low, high]}}")
    return float(given[0]), float(given[1])
