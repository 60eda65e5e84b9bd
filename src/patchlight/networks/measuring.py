"""Where the patches of a map lie: after some known steps, or as gradients and changes of the image show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from patchlight.networks.tracing import Step, Trace, trace

STRIP = 512
"""Pixels of a strip of which a map that sees all of any image must see the whole."""

PROBES = 5
"""Neighbouring values of a map whose patches are measured."""

Unplaced = Literal["larger", "whole", "everything"]
"""The values of a map see a patch that the image does not hold, all of the image, or all of any image."""


class Place(NamedTuple):
    """Where the patches of a map lie, see `PatchGrid`."""

    field: int
    stride: int
    offset: float

    def edges(self, index: int, side: int) -> tuple[int, int]:
        """The first pixel that a value sees along a side, and the one after the last."""
        begin = round(self.offset + index * self.stride - self.field / 2)
        return max(begin, 0), max(min(begin + self.field, side), 0)


def follow(steps: Sequence[Step], side: int) -> tuple[Place, int]:
    """The patches after some steps, one after the other, and their number along a side of so many pixels.

    Source: Araujo et al. 2019, equations 2 and 5 (with the paddings of each layer).
    """
    field, jump, offset = 1, 1, 0.5
    for kernel, stride, padding, dilation in steps:
        reach = (kernel - 1) * dilation
        field += reach * jump
        offset += (reach / 2 - padding) * jump
        jump *= stride
        side = (side + 2 * padding - reach - 1) // stride + 1
    return Place(field, jump, offset), side


def measure(network: nn.Module, plain: nn.Module, traced: Trace, number: int) -> Place | Unplaced:
    """The patches of neighbouring values in the middle of a map, as gradients and changes of the image show them."""
    side, n_values = traced.image.shape[-1], traced.maps[number].shape[-1]
    if all(seen_by(traced, number, i, i) == (0, side, 0, side) for i in (0, n_values // 2, n_values - 1)):
        return "everything" if _sees_strip(plain, traced, number) else "whole"
    if n_values < PROBES:
        return "larger"
    indices = range(n_values // 2 - PROBES // 2, n_values // 2 - PROBES // 2 + PROBES)
    seen = [seen_by(traced, number, i, i) for i in indices]
    if any(min(edges) == 0 or max(edges) == side for edges in seen):
        return "larger"
    (top, bottom, _, _), (following, *_) = seen[:2]
    place = Place(bottom - top, following - top, (top + bottom) / 2 - indices[0] * (following - top))
    if place.stride < 1 or any(edges != place.edges(i, side) * 2 for i, edges in zip(indices, seen, strict=True)):
        displayed = ", ".join(
            f"{right - left} x {bottom - top} px from {left}, {top}" for top, bottom, left, right in seen
        )
        raise cannot_be_told(network, f"its patches are not square or not at even distances ({displayed})")
    _require_nothing_else(network, plain, traced, number, place)
    return place


def _require_nothing_else(network: nn.Module, plain: nn.Module, traced: Trace, number: int, place: Place) -> None:
    """Raise a ValueError if values in the middle and in the corners change with what lies outside of their patches."""
    side, values = traced.image.shape[-1], traced.maps[number]
    last = values.shape[-1] - 1
    for row, column in ((last // 2, last // 2), (0, 0), (0, last), (last, last)):
        inside = (..., slice(*place.edges(row, side)), slice(*place.edges(column, side)))
        image = traced.image.detach()
        changed = image * 1e6 * image.flip(-1, -2)
        changed[inside] = image[inside]
        again = trace(plain, changed).maps[number]
        if not torch.allclose(again[..., row, column], values[..., row, column], rtol=1e-12, atol=0):
            raise cannot_be_told(
                network, f"the value in row {row}, column {column} depends on more than the {place.field} x "
                f"{place.field} px that the patches in the middle have",
            )  # fmt: skip


def _sees_strip(plain: nn.Module, traced: Trace, number: int) -> bool:
    """Whether the first value of a map sees all of a strip that is longer than any patch which can be measured."""
    _, n_channels, side, _ = traced.image.shape
    if side >= STRIP:
        return True
    try:
        strip = trace(plain, random_image(n_channels, side, STRIP))
        middle = strip.maps[number].shape[-1] // 2
        return all(seen_by(strip, number, 0, i) == (0, side, 0, STRIP) for i in (0, middle))
    except Exception:  # a network for images of one size
        return False


def seen_by(traced: Trace, number: int, row: int, column: int) -> tuple[int, int, int, int]:
    """Top, bottom, left and right edge of what one value sees; zeros for nothing."""
    value = traced.maps[number][0, :, row, column].sum()
    if not value.requires_grad:
        return 0, 0, 0, 0
    (gradient,) = torch.autograd.grad(value, traced.image, retain_graph=True, allow_unused=True)
    if gradient is None or not (seen := gradient[0].abs().sum(dim=0) > 0).any():
        return 0, 0, 0, 0
    rows, columns = seen.any(dim=1).nonzero().flatten().tolist(), seen.any(dim=0).nonzero().flatten().tolist()
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def random_image(n_channels: int, height: int, width: int) -> Tensor:
    """An image, 1 C H W, of values between 0.5 and 1.5, the same each time."""
    random = torch.Generator().manual_seed(0)
    return torch.rand(1, n_channels, height, width, generator=random, dtype=torch.float64) + 0.5


def cannot_be_told(network: nn.Module, reason: str) -> ValueError:
    """The error of a network whose patches nothing tells, with what its user can do."""
    name = type(network).__name__
    return ValueError(f"the receptive field of {name} cannot be told: {reason}. It can say so itself, by patch_grids")
