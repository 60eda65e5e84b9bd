"""The patches that a discriminator's maps see: by arithmetic over known layers, otherwise measured by gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from patchlight.networks.maps import PatchGrid
from patchlight.networks.measuring import Place, Unplaced, cannot_be_told, follow, measure, random_image, seen_by
from patchlight.networks.shapes import output_shapes, possible_channels, takes
from patchlight.networks.tracing import Trace, skeleton, trace

SIDES = (64, 128, 256, 512, 1024, 4096)
"""Pixels of the images that are tried, until one is large enough."""

MEASURED_UP_TO = 1024
"""Pixels of the largest image in which patches are measured."""


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
        ValueError: as `receptive_field`; the network takes no such image, or makes other maps of it than its patches
            would fill.
    """
    found = _places(network)
    n_channels, shapes = output_shapes(network, found.channels, height, width)
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
        if any(seen_by(traced, number, *probe) != (0, image[0], 0, image[1]) for probe in probes):
            raise cannot_be_told(network, f"it sees all of a smaller image, and not all of {image[0]} x {image[1]} px")
    strides = [pixels / n for pixels, n in zip(image, size, strict=True) if n > 1] or [float(max(image))]
    if max(strides) > 1.5 * min(strides):
        raise cannot_be_told(network, f"it makes {size[0]} x {size[1]} values of {image[0]} x {image[1]} px")
    return PatchGrid(max(image), strides[0], strides[0] / 2, size)
