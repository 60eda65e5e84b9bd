"""The networks of a run: receptive field and patch map of its discriminators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from patchlight.errors import ConfigError, EmptyPatchMapError
from patchlight.methods import TranslationMethod
from patchlight.networks import (
    Discriminator,
    DiscriminatorEnsemble,
    EmptyMapError,
    PatchGrid,
    map_suffixes,
    receptive_field,
    require_shapes,
)


@dataclass(frozen=True)
class PatchGeometry:
    """What one map of a discriminator sees: receptive field in pixels, and the map's size for an image.

    `name` is the discriminator's, with the scale's number where it has several maps.
    """

    name: str
    receptive_field: int
    image_size: tuple[int, int]
    map_size: tuple[int, int]

    def __str__(self) -> str:
        r, (height, width) = self.receptive_field, self.image_size
        text = (
            f"{self.name}: receptive field {r} x {r} px, "
            f"patch map {self.map_size[0]} x {self.map_size[1]} for {height} x {width} px"
        )
        if r > min(height, width):
            text += f"; the field is larger than the image, so no patch is seen whole (it has {r - min(height, width)}"
            text += " px of padding in it)"
        return text


def patch_geometries(method: TranslationMethod, image_size: int | list[int]) -> list[PatchGeometry]:
    """Receptive field and patch map of each discriminator, or of each of its scales, compared with a forward pass.

    Raises:
        EmptyPatchMapError: a map would be empty.
        ConfigError: they cannot be told, or are not what the forward pass makes.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    geometries = []
    for name, network in method.modules_of("discriminator").items():
        assert isinstance(network, Discriminator)
        key = f"model.{method.networks[name].config}"
        grids = [grid for own, each in _each_discriminator(key, network) for grid in _grids(own, each, height, width)]
        try:
            require_shapes(network, grids, height, width)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from None
        for suffix, grid in zip(map_suffixes(len(grids)), grids, strict=True):
            geometries.append(PatchGeometry(name + suffix, grid.field, (height, width), grid.size))
    return geometries


def _grids(key: str, network: Discriminator, height: int, width: int) -> tuple[PatchGrid, ...]:
    """Where the patches of one discriminator lie; errors are by its key."""
    try:
        if min(height, width) < network.min_size:
            raise EmptyMapError(f"it needs images of at least {network.min_size} px")
        return network.patch_grids(height, width)
    except EmptyMapError as error:
        field = ""
        with suppress(ValueError):  # it cannot be told of layers of one's own
            field = f" its receptive field is {receptive_field(network)} px and"
        size = height if height == width else [height, width]
        raise EmptyPatchMapError(
            f"{key} leaves an empty patch map for data.image_size={size}:{field} {error}; "
            f"take fewer {f'{key}.n_layers' if network.min_size > 1 else 'layers'} or larger images"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


def _each_discriminator(key: str, network: Discriminator) -> Iterator[tuple[str, Discriminator]]:
    """A discriminator, or of several each, with its key."""
    if not isinstance(network, DiscriminatorEnsemble):
        yield key, network
        return
    for name, member in network.members.items():
        yield from _each_discriminator(f"{key}.discriminators.{name}", member)
