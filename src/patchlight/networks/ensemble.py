"""Several discriminators in place of one, each with its weight."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import PositiveFloat
from torch import Tensor, nn

from patchlight.networks.base import Discriminator
from patchlight.networks.maps import Maps, PatchGrid, as_maps


class DiscriminatorEnsemble(Discriminator):
    """Several discriminators of the same images: (B, in_channels, H, W) -> their maps, in their order.

    With L the objective, the losses of both sides are the sum of weight L(maps) over the `discriminators`, which have
    names; a discriminator that is not in `weights` has the weight 1. The maps of one that has several count the same.

    Raises:
        ValueError: no discriminators, a name that is none, a weight that is not positive or of no discriminator; later,
            an image so small that a map would be empty.

    Source: Durugkar et al. 2017, "Generative Multi-Adversarial Networks", section 3.1.1, for their weighted mean.
    """

    def __init__(
        self, discriminators: Mapping[str, Discriminator], weights: Mapping[str, PositiveFloat] | None = None
    ) -> None:
        super().__init__()
        if not discriminators:
            raise ValueError("discriminators is empty: give at least one, by a name")
        for name, member in discriminators.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in dir(nn.ModuleDict):
                raise ValueError(
                    f"discriminators.{name} has a name that is taken or holds other characters than lower-case "
                    f"letters, digits and _: choose another"
                )
            if not isinstance(member, Discriminator):
                raise ValueError(
                    f"discriminators.{name} is a {type(member).__name__}: derive it from "
                    f"patchlight.networks.Discriminator"
                )
        given = dict(weights or {})
        for name, weight in given.items():
            if name not in discriminators:
                raise ValueError(f"weights.{name} is of no discriminator: there are {', '.join(discriminators)}")
            if weight <= 0:
                raise ValueError(f"weights.{name} must be positive, got {weight}: leave the discriminator out instead")
        self.discriminators = nn.ModuleDict(discriminators)
        self.min_size = max(member.min_size for member in self.members.values())
        self.n_maps = sum(member.n_maps for member in self.members.values())
        found = [
            given.get(name, 1.0) * own
            for name, member in self.members.items()
            for own in member.map_weights or (1.0,) * member.n_maps
        ]
        self.map_weights = None if set(found) == {1.0} else tuple(found)

    @property
    def members(self) -> dict[str, Discriminator]:
        """The discriminators by name."""
        return {name: each for name, each in self.discriminators.items() if isinstance(each, Discriminator)}

    @property
    def shows_features(self) -> bool:
        return all(member.shows_features for member in self.members.values())

    def forward(self, image: Tensor) -> Maps:
        maps: Maps = ()
        for name, member in self.members.items():
            self._require_size(name, image)
            own = as_maps(member(image))
            self._require_number(name, len(own))
            maps += own
        return maps

    def features(self, image: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        features: tuple[tuple[Tensor, ...], ...] = ()
        for name, member in self.members.items():
            self._require_size(name, image)
            own = member.features(image)
            self._require_number(name, len(own))
            features += tuple(own)
        return features

    def patch_grids(self, height: int, width: int) -> tuple[PatchGrid, ...]:
        return tuple(grid for member in self.members.values() for grid in member.patch_grids(height, width))

    def _require_size(self, name: str, image: Tensor) -> None:
        height, width = image.shape[-2:]
        smallest = self.members[name].min_size
        if min(height, width) < smallest:
            raise ValueError(
                f"discriminators.{name} leaves an empty patch map for a {height}x{width} image: it needs at least "
                f"{smallest} pixels a side"
            )

    def _require_number(self, name: str, found: int) -> None:
        said = self.members[name].n_maps
        if found != said:
            raise ValueError(
                f"discriminators.{name} makes {found} maps and its n_maps is {said}: set n_maps in its constructor"
            )
