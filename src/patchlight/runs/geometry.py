"""The networks of a run: what they cost, and receptive field and patch map of its discriminators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from patchlight.errors import ConfigError, EmptyPatchMapError
from patchlight.methods import NetworkSpec, TranslationMethod
from patchlight.networks import (
    Condition,
    Discriminator,
    DiscriminatorEnsemble,
    EmptyMapError,
    Generator,
    PatchGrid,
    map_suffixes,
    receptive_field,
    require_shapes,
)
from patchlight.networks.cost import count_parameters, forward_flops


@dataclass(frozen=True)
class PatchGeometry:
    """What one map of a discriminator sees: receptive field in pixels, and the map's size for an image.

    `name` is the discriminator's, with the scale's number where it has several maps.
    """

    name: str
    receptive_field: int
    image_size: tuple[int, int]
    map_size: tuple[int, int]

    @property
    def padding(self) -> int:
        """By how many pixels the receptive field is larger than the image; then no patch is seen whole."""
        return max(0, self.receptive_field - min(self.image_size))


@dataclass(frozen=True)
class NetworkCost:
    """The parameters of a network, and the floating-point operations of its forward pass for one image, if known."""

    name: str
    parameters: int
    flops: int | None


def network_costs(
    method: TranslationMethod, channels: Mapping[str, int], image_size: tuple[int, int]
) -> list[NetworkCost]:
    """What each network of a method costs at the size of the training's images, H x W.

    `channels` says how many each domain, "A" and "B", has. Operations of an auxiliary network are not known: what it
    is given, the step alone knows. Nothing is computed, see `forward_flops`.
    """
    costs = []
    for name, network in method.modules_of().items():
        spec = method.networks[name]

        def forward(copy: nn.Module, name: str = name, spec: NetworkSpec = spec) -> object:
            images = {domain: torch.empty(1, channels[domain], *image_size) for domain in spec.domains}
            if spec.kind == "generator":
                conditions = cast(Generator, copy).conditions
                values = {key: _empty_value(conditions[key], image_size) for key in spec.further}
                return method.generate(name, copy, {**images, **values})
            return copy(torch.cat([images[domain] for domain in spec.domains], dim=1))

        flops = forward_flops(network, forward) if spec.kind != "auxiliary" else None
        costs.append(NetworkCost(name, count_parameters(network), flops))
    return costs


def _empty_value(condition: Condition, image_size: tuple[int, int]) -> Tensor:
    """One image's value of a further input of a generator, without data."""
    shape = (1, *condition.shape, *(image_size if condition.spatial else ()))
    return torch.empty(shape, dtype=torch.int64 if condition.classes is not None else torch.float32)


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
