"""Colorization: the lightness of a picture as what a network reads, and its two colour coordinates as what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from patchlight.data.content import Content
from patchlight.data.image_files import Picture
from patchlight.data.images import Array, check_channels, picture_levels, to_levels, to_planes

WHITE = (0.95047, 1.0, 1.08883)
"""X, Y and Z of the illuminant D65, for the observer of 2 degrees."""

TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""From linear sRGB (ITU-R BT.709)."""

EPSILON, SLOPE, OFFSET = 0.008856, 7.787, 16 / 116
"""Below EPSILON the cube root is a line."""

L_SCALE, AB_SCALE = 50.0, 110.0
"""A network reads L / 50 - 1 and makes a / 110 and b / 110."""

HALVINGS = 12
"""Steps in which a colour outside of what a screen shows is brought in: to 1 / 4096 of its chroma."""

ROUNDING = 1e-4
"""How far outside of [0, 1] a linear part of a colour may be before its chroma is searched for."""


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """... 3 H W of sRGB in [0, 1] to L in [0, 100], a and b.

    Source: CIE 15, with the constants of the reference code's library.
    """
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = _mix(linear, torch.tensor(TO_XYZ, dtype=torch.float64)) / _column(rgb, WHITE)
    f = torch.where(xyz > EPSILON, xyz.clamp_min(EPSILON) ** (1 / 3), SLOPE * xyz + OFFSET)
    x, y, z = f.unbind(-3)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """L, a and b, ... 3 H W, to sRGB in [0, 1]; colours that no screen shows lose chroma until one does.

    L stays as it is: clipping red, green and blue, as is often done, would change it.
    """
    lightness, chroma = lab[..., :1, :, :].clamp(0, 100), lab[..., 1:, :, :]
    linear = _linear(lightness, chroma)
    outside = _is_outside(linear)
    if bool(outside.any()):
        low, high = torch.zeros_like(lightness), torch.ones_like(lightness)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            too_far = _is_outside(_linear(lightness, chroma * middle))
            low, high = torch.where(too_far, low, middle), torch.where(too_far, middle, high)
        linear = torch.where(outside, _linear(lightness, chroma * low), linear)
    linear = _toward_gray(linear, lightness)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)


def _toward_gray(linear: Tensor, lightness: Tensor) -> Tensor:
    """Linear red, green and blue, ... 3 H W, in [0, 1]: what is outside is mixed with the gray of its lightness.

    The luminance is a sum of the three, so that it stays as it is.
    """
    y = (lightness + 16) / 116
    gray = torch.where(y > EPSILON ** (1 / 3), y**3, (y - OFFSET) / SLOPE).clamp(0, 1)
    room = torch.where(linear > gray, 1 - gray, gray)
    share = (room / (linear - gray).abs().clamp_min(torch.finfo(linear.dtype).tiny)).amin(dim=-3, keepdim=True)
    return (gray + share.clamp(max=1) * (linear - gray)).clamp(0, 1)  # but for its last digit it is there


def _linear(lightness: Tensor, chroma: Tensor) -> Tensor:
    y = (lightness + 16) / 116
    a, b = chroma[..., :1, :, :], chroma[..., 1:, :, :]
    f = torch.cat([y + a / 500, y, y - b / 200], dim=-3)
    threshold = EPSILON ** (1 / 3)
    xyz = torch.where(f > threshold, f**3, (f - OFFSET) / SLOPE) * _column(lightness, WHITE)
    return _mix(xyz, torch.linalg.inv(torch.tensor(TO_XYZ, dtype=torch.float64)))


def _is_outside(linear: Tensor) -> Tensor:
    return ((linear < -ROUNDING) | (linear > 1 + ROUNDING)).any(dim=-3, keepdim=True)


def _mix(image: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("ij,...jhw->...ihw", matrix.to(image), image)


def _column(like: Tensor, numbers: tuple[float, ...]) -> Tensor:
    return torch.tensor(numbers, dtype=like.dtype, device=like.device)[:, None, None]


class _Picture(Content):
    """A picture in RGB of which a network reads or makes a part in Lab."""

    @property
    def stored(self) -> int:
        return 3

    @property
    def written(self) -> int:
        return 3

    def key(self, domain: str) -> str:
        return "colorization=true"

    def check_header(self, channels: int, mode: str, format: str) -> None:
        check_channels(channels, mode, 3)

    def levels(self, picture: Picture) -> Array:
        return picture_levels(picture, 3)

    def sample(self, image: Array) -> Tensor:
        return self.to_values(to_planes(image)[None], 255)[0]


@dataclass(frozen=True)
class Lightness(_Picture):
    """The lightness L of pictures, as L / 50 - 1 in [-1, 1]."""

    can_be_made = False

    @property
    def channels(self) -> int:
        return 1

    @property
    def value_limits(self) -> tuple[tuple[float, float], ...]:
        return ((0.0, 2 * L_SCALE),)

    def describe(self) -> str:
        return "L of CIE Lab (D65), 0 to 100"

    def to_values(self, planes: Tensor, full: int) -> Tensor:
        return rgb_to_lab(planes.to(torch.float32) / full)[:, :1] / L_SCALE - 1


@dataclass(frozen=True)
class Chroma(_Picture):
    """The colour coordinates a and b of pictures, as a / 110 and b / 110."""

    @property
    def channels(self) -> int:
        return 2

    @property
    def value_limits(self) -> tuple[tuple[float, float], ...]:
        return ((-AB_SCALE, AB_SCALE),) * 2

    def describe(self) -> str:
        return "a and b of CIE Lab (D65), -110 to 110"

    def to_values(self, planes: Tensor, full: int) -> Tensor:
        return rgb_to_lab(planes.to(torch.float32) / full)[:, 1:] / AB_SCALE

    def to_levels(self, values: Tensor, sources: Tensor, full: int) -> Tensor:
        return to_levels(picture_of(sources, values.detach()), full, nearest=True)


def picture_of(lightness: Tensor, chroma: Tensor) -> Tensor:
    """RGB in [-1, 1] of what networks read and make, ... 1 H W and ... 2 H W; what is not a number has no colour."""
    values = chroma.float().nan_to_num(nan=0.0).clamp(-1, 1) * AB_SCALE
    return lab_to_rgb(torch.cat([(lightness.float() + 1) * L_SCALE, values], dim=-3)) * 2 - 1


def as_pictures(images: Mapping[str, Tensor], contents: Mapping[str, Content]) -> dict[str, Tensor]:
    """Images by name, ... C H W in [-1, 1], where `contents` of their domains say colorization as pictures in RGB.

    The names end in the domain, as `fake_B` does. Without colorization they are the same.
    """
    found = dict(images)
    for name, image in images.items():
        match contents.get(name[-1:]):
            case Lightness():
                found[name] = picture_of(image, torch.zeros_like(image).repeat_interleave(2, dim=-3))
            case Chroma():
                found[name] = picture_of(images["real_A"], image)
    return found
