"""What a generator and a discriminator say of the images and other inputs that they can take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from patchlight.networks.maps import PatchGrid, as_maps
from patchlight.networks.receptive_field import patch_grids

__all__ = ["Condition", "Discriminator", "Generator", "as_maps"]


@dataclass(frozen=True)
class Condition:
    """An input of a generator beside its image: the shape and type of one image's value.

    `shape` has no batch; of a `spatial` value it is followed by the height and width of the image. `classes` makes it a
    whole number (int64) from 0 to `classes` - 1; other values are floating point. `noise` is drawn from the standard
    normal distribution where none is given.
    """

    shape: tuple[int, ...] = ()
    spatial: bool = False
    classes: int | None = None
    noise: bool = False

    def __str__(self) -> str:
        what = f"whole numbers from 0 to {self.classes - 1}" if self.classes is not None else "numbers"
        shape = [*map(str, self.shape), *(["H", "W"] if self.spatial else [])]
        return f"{what} of shape {' x '.join(shape)}" if shape else f"one of {what}" if self.classes else "a number"


class Generator(nn.Module):
    """A network from images to images of the same size; own ones derive from it to be used in a configuration."""

    conditions: Mapping[str, Condition] = {}
    """Its further inputs by name, as the method's table of networks has them: arguments after the image."""

    size_multiple: int = 1
    """Height and width of the input are multiples of this many pixels."""

    def recompute_features(self) -> None:
        """From now on keep few features for the backward pass, and compute the others again when they are needed.

        Raises:
            ValueError: this generator does not know how.
        """
        raise ValueError(f"{type(self).__name__} cannot compute its features again: it has no recompute_features")


class Discriminator(nn.Module):
    """A network from images to a map of logits, B 1 h w, or to a tuple of maps, one for each scale.

    Own ones derive from it to be used in a configuration.
    """

    min_size: int = 1
    """The smallest image side, in pixels, for which no map is empty."""

    def features(self, image: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """For each map what the layers make on the way to it, B C h w, with the map itself as the last.

        Raises:
            ValueError: this discriminator does not show them.
        """
        raise ValueError(f"{type(self).__name__} does not show its features: it has no features(image)")

    def patch_grids(self, height: int, width: int) -> tuple[PatchGrid, ...]:
        """Where the patches of each map lie, for an image of that size in pixels.

        They are computed or measured, and compared with a forward pass. A discriminator whose patches cannot be told in
        this way, because it scales its images to one size for example, overrides this and says it, in pixels of the
        image that it is given.

        Raises:
            ValueError: they cannot be told, or the image is too small.
        """
        return patch_grids(self, height, width)
