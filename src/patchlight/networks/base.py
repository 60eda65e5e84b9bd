"""What a generator and a discriminator say of the images they can take."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Generator(nn.Module):
    """A network from images to images of the same size; own ones derive from it to be used in a configuration."""

    size_multiple: int = 1
    """Height and width of the input are multiples of this many pixels."""

    def recompute_features(self) -> None:
        """From now on keep few features for the backward pass, and compute the others again when they are needed.

        Raises:
            ValueError: this generator does not know how.
        """
        raise ValueError(f"{type(self).__name__} cannot compute its features again: it has no recompute_features")


class Discriminator(nn.Module):
    """A network from images to a map of logits; own ones derive from it to be used in a configuration."""

    min_size: int = 1
    """The smallest image side, in pixels, for which the map is not empty."""


def as_maps(output: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The maps of logits, B 1 h w, that a discriminator gave: one, or one for each of its scales."""
    return (output,) if isinstance(output, Tensor) else tuple(output)
