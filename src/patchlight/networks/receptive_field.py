"""The patches that a discriminator's maps see: by arithmetic over known layers, otherwise measured by gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from patchlight.networks.maps import EmptyMapError, PatchGrid, output_shapes, possible_channels, skeleton, takes
from patchlight.networks.tracing import Step, Trace, random_image, trace

SIDES = (64, 128, 256, 512, 1024, 4096)
"""Pixels of the images that are tried, until one is large enough."""

MEASURED_UP_TO = 1024
"""Pixels of the largest image in which patches are measured."""

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


class Found(NamedTuple):
    """The patches of each map, None where it sees all of an image, and how many there are along `side` pixels."""

    channels: list[int]
    places: tuple[Place | None, ...]
    patches: tuple[int, ...]
    side: int


def receptive_field(network: nn.Module) -> int:
    """The width in pixels of the square patch that one value of the output sees; of several maps the largest.

    Exact: for known layers one after the other, such as convolutions, poolings, activations and norms, from their
    strides and kernels in the order of a forward pass: r <- r + (k - 1) d j, j <- j s. All else, such as a residual
    addition, is measured by gradient. The statistics of a norm layer, which come from the whole image, do not count.

    Raises:
        ValueError: values that see all of any image; patches that are not square, not at even distances, or larger than
            can be measured; or a network of which gradients do not show all that it sees.

    Source: Araujo et al. 2019, "Computing Receptive Fields of Convolutional Neural Networks", equation 2.
    """
    fields = [place.field for place in _places(network).places if place is not None]
    if not fields or len(fields) < len(_places(network).places):
        raise cannot_be_told(network, "it sees all of any image, or takes images of one size only")
    return max(fields)


def patch_grids(network: nn.Module, height: int, width: int) -> tuple[PatchGrid, ...]:
    """The patches of each map of a network for an image of that size in pixels; see `receptive_field`.

    The sizes of the maps are those of a real forward pass. Values that see all of the image have a patch of its size.

    Raises:
        EmptyMapError: the image is too small for a patch.
        ValueError: as `receptive_field`; the network takes no such image, or makes other maps of it than its patches
            would fill.
    """
    found = _places(network)
    try:
        n_channels, shapes = output_shapes(network, found.channels, height, width)
    except ValueError as error:
        missing = min(height, width) - found.side
        lefts = [n + missing / place.stride for n, place in zip(found.patches, found.places, strict=True) if place]
        raise (EmptyMapError(str(error)) if lefts and min(lefts) < 1 else error) from None
    if len(found.places) not in (0, len(shapes)):
        raise cannot_be_told(
            network, f"it makes {len(shapes)} maps of {height} x {width} px and {len(found.places)} of others"
        )
    grids = []
    for number, shape in enumerate(shapes):
        size = shape[-2], shape[-1]
        place = found.places[number] if found.places else None
        if place is None:
            grids.append(_whole_image(network, n_channels, number, (height, width), size))
            continue
        for pixels, patches in ((height, size[0]), (width, size[1])):
            # A network that scales all images to one size has as many patches in any.
            if abs(patches - found.patches[number] - (pixels - found.side) / place.stride) >= 1:
                before = f"{found.patches[number]} patches {place.stride} px apart of {found.side} px"
                raise cannot_be_told(network, f"it makes {before}, and {patches} of {pixels} px")
        grids.append(PatchGrid(place.field, place.stride, place.offset, size))
    return tuple(grids)


def require_shapes(network: nn.Module, grids: Sequence[PatchGrid], height: int, width: int) -> None:
    """Raise a ValueError if a network says other maps of itself than a real forward pass makes of an image.

    Each value of a map is one logit.
    """
    _, shapes = output_shapes(network, possible_channels(network), height, width)
    said = [(1, *grid.size) for grid in grids]
    if said != [shape[1:] for shape in shapes]:
        made, said_of = (", ".join(" x ".join(map(str, s)) for s in each) for each in ([s[1:] for s in shapes], said))
        raise ValueError(f"{type(network).__name__} makes {made} values of {height} x {width} px, and not {said_of}")


_known: WeakKeyDictionary[nn.Module, tuple[list[int], Found]] = WeakKeyDictionary()
"""What was found of networks, with the identities of the modules that they had then."""


def _places(network: nn.Module) -> Found:
    modules = [id(module) for module in network.modules()]
    if network not in _known or _known[network][0] != modules:
        with torch.inference_mode(False), torch.enable_grad():
            _known[network] = modules, _find_places(network)
    return _known[network][1]


def _find_places(network: nn.Module) -> Found:
    """Look at larger and larger images, until the patches in the middle are seen whole."""
    plain = skeleton(network)
    traced: Trace | None = None
    answers: list[Place | Unplaced] = []
    for n_channels, side in _sizes(network):
        if traced is not None and (side > MEASURED_UP_TO or not _is_open(answers)):
            break
        try:
            traced = trace(plain, random_image(n_channels, side, side))
        except Exception:  # a network of somebody else's, which may take images of some sizes only
            continue
        known = answers or ["larger"] * len(traced.maps)
        answers = [_place(network, plain, traced, i) if _is_open([a]) else a for i, a in enumerate(known)]
    if traced is None:
        return Found(possible_channels(network), (), (), 0)
    _, n_channels, _, side = traced.image.shape
    if "larger" in answers:
        raise cannot_be_told(network, f"images of up to {side} px show no whole patch of it")
    places = tuple(answer if isinstance(answer, Place) else None for answer in answers)
    return Found([n_channels], places, tuple(x.shape[-1] for x in traced.maps), side)


def _sizes(network: nn.Module) -> Iterator[tuple[int, int]]:
    """The channels and sides of images that a network may take, from the smallest."""
    channels, n_found = possible_channels(network), 0
    for side in SIDES:
        if n_channels := next((n for n in channels if takes(network, n, side)), 0):
            channels, n_found = [n_channels], n_found + 1
            yield n_channels, side
    if not n_found:  # values of the image may decide what is done, or it takes none of these sizes
        yield from ((n_channels, side) for side in SIDES if side <= MEASURED_UP_TO for n_channels in channels)


def _is_open(answers: Sequence[Place | Unplaced]) -> bool:
    return not all(isinstance(answer, Place) or answer == "everything" for answer in answers)


def _place(network: nn.Module, plain: nn.Module, traced: Trace, number: int) -> Place | Unplaced:
    """The patches of one map, by arithmetic where it is made by known layers one after the other."""
    side, values, chain = traced.image.shape[-1], traced.maps[number], traced.chains[number]
    if values.ndim != 4 or values.shape[-1] != values.shape[-2]:
        raise cannot_be_told(
            network, f"it makes values of the shape {tuple(values.shape)} of an image of {side} x {side} px"
        )
    if chain is None:
        return measure(network, plain, traced, number)
    (place, expected), patches = follow(chain, side), values.shape[-1]
    if expected != patches:
        raise cannot_be_told(network, f"its layers would make {expected} patches of {side} px, and it makes {patches}")
    return place


def _whole_image(
    network: nn.Module, n_channels: int, number: int, image: tuple[int, int], size: tuple[int, int]
) -> PatchGrid:
    """One patch, as large as the image, for all values of a map, each drawn at its place among the others."""
    if max(image) > SIDES[-1]:
        raise cannot_be_told(
            network, f"it sees all of a smaller image, and {image[0]} x {image[1]} px are too large to look at"
        )
    with torch.inference_mode(False), torch.enable_grad():
        traced = trace(skeleton(network), random_image(n_channels, *image))
        probes = [(0, 0), (size[0] // 2, size[1] // 2), (size[0] - 1, size[1] - 1)]
        if any(traced.seen_by(number, *probe) != (0, image[0], 0, image[1]) for probe in probes):
            raise cannot_be_told(network, f"it sees all of a smaller image, and not all of {image[0]} x {image[1]} px")
    strides = [pixels / n for pixels, n in zip(image, size, strict=True) if n > 1] or [float(max(image))]
    if max(strides) > 1.5 * min(strides):
        raise cannot_be_told(network, f"it makes {size[0]} x {size[1]} values of {image[0]} x {image[1]} px")
    return PatchGrid(max(image), strides[0], strides[0] / 2, size)


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
    if all(traced.seen_by(number, i, i) == (0, side, 0, side) for i in (0, n_values // 2, n_values - 1)):
        return "everything" if _sees_strip(plain, traced, number) else "whole"
    if n_values < PROBES:
        return "larger"
    indices = range(n_values // 2 - PROBES // 2, n_values // 2 - PROBES // 2 + PROBES)
    seen = [traced.seen_by(number, i, i) for i in indices]
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
        return all(strip.seen_by(number, 0, i) == (0, side, 0, STRIP) for i in (0, middle))
    except Exception:  # a network for images of one size
        return False


def cannot_be_told(network: nn.Module, reason: str) -> ValueError:
    """The error of a network whose patches nothing tells, with what its user can do."""
    name = type(network).__name__
    return ValueError(f"the receptive field of {name} cannot be told: {reason}. It can say so itself, by patch_grids")
