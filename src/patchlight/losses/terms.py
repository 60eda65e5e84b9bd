"""Weighted terms of a loss, which may be left out between intervals; and the terms that a generator's loss can have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

Features = tuple[tuple[Tensor, ...], ...]
"""Of each map of a discriminator what its layers make on the way to it, B C h w, with the map itself as the last."""


class WeightedTerm(nn.Module, ABC):
    """A term of a loss, before its weight: `weight` times its value is added to the loss.

    With an `interval` above 1 it is added only in every interval-th step, as many times stronger (lazy regularization).

    Raises:
        ValueError: a negative weight, or an interval below 1.

    Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 3.1, for the interval.
    """

    def __init__(self, weight: float, interval: int) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"weight must not be negative, got {weight}")
        if isinstance(interval, bool) or interval < 1:
            raise ValueError(f"interval must be an integer of at least 1, got {interval!r}")
        self.weight = weight
        self.interval = interval

    def due(self, step: int) -> bool:
        """Whether the term is in the loss of the step of this number, counted from 0."""
        return self.weight > 0 and step % self.interval == 0

    @property
    def scale(self) -> float:
        """What the value is multiplied by in a step whose loss it is in."""
        return self.weight * self.interval


@dataclass(frozen=True)
class StepImages:
    """The images of one translation in a generator's step, B C H W in [-1, 1], in float32 or more."""

    source: Tensor
    """The images that were translated."""
    fake: Tensor
    """The generator's images, through which the gradients flow."""
    real: Tensor
    """Images of the domain of `fake`: those that it should equal, if the method learns from pairs."""
    reconstruction: Tensor | None = None
    """`fake` translated back, in a method with cycles."""
    fake_features: Features | None = None
    """The discriminator's features of `fake`, in a step with a term that `needs_features`."""
    real_features: Features | None = None
    """The discriminator's features of `real`, without gradients, where there are those of `fake`."""
    map_weights: tuple[float, ...] | None = None
    """How much each map of the discriminator counts, where there are features; None where all count 1."""


class GeneratorTerm(WeightedTerm):
    """A term of a generator's loss, computed from the images of a step; own ones define `forward`.

    Its parameters are those of fixed networks: they are frozen, in evaluation mode, on the generator's device, in no
    optimizer and in no checkpoint, so that its constructor makes them the same each time. Buffers are its state, which
    checkpoints hold. With a weight of 0 it is neither computed nor logged.
    """

    needs_pairs: bool = False
    """Whether `fake` is compared with the `real` image that it should equal, so that unpaired methods refuse it."""
    needs_features: bool = False
    """Whether it looks at the discriminator's features, so that there is none before the discriminator has begun."""
    needs_cycle: bool = False
    """Whether it looks at the `reconstruction`, so that methods without cycles refuse it."""
    min_size: int = 1
    """The smallest image side, in pixels, for which it has a value."""

    def __init__(self, weight: NonNegativeFloat = 1.0, interval: PositiveInt = 1) -> None:
        super().__init__(weight, interval)

    @abstractmethod
    def forward(self, images: StepImages) -> Tensor:
        """The value before its weight, a scalar."""

    def require_images(self, height: int, width: int, *, channels: tuple[int, int]) -> None:
        """Raise a ValueError that says, after the term's name, why it cannot take images of this size in pixels.

        `channels` are the numbers of channels of the source and of the generated image.
        """
        if min(height, width) < self.min_size:
            raise ValueError(f"needs images of at least {self.min_size} px a side, got {height} x {width} px")
