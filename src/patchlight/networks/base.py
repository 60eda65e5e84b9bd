"""The base classes of generators and discriminators, and what saves memory in the backward pass of either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from patchlight.networks.maps import PatchGrid
from patchlight.networks.receptive_field import patch_grids


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


class Network(nn.Module):
    """A generator or discriminator."""

    def initial_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The whole state to begin a training with, of the weights that `init_from` has for this network.

        A network that can begin with those of a smaller one, and draw the rest anew, overrides this.
        """
        return dict(state)


class Generator(Network):
    """A network from images to images of the same size; own ones derive from it to be used in a configuration."""

    conditions: Mapping[str, Condition] = {}
    """Its further inputs by name, as the method's table of networks has them: arguments after the image."""

    size_multiple: int = 1
    """Height and width of the input are multiples of this many pixels."""

    min_size: int = 1
    """The smallest side of an image that it takes, in pixels."""

    def encode(self, image: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """The features of an image, B C h w, behind the layers of these numbers, in ascending order.

        The pass ends at the last of them. What a ReLU follows is given rectified, unless it is the last.

        Raises:
            ValueError: this generator does not show its features, or has no such layer.

        Source: Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", section 3.
        """
        raise ValueError(f"{type(self).__name__} does not show its features: it has no encode(image, layers)")

    def translate_and_encode(self, layers: Sequence[int], *inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The translated image, and the features of its input as `encode` gives them, in one pass where that is known.

        `inputs` are the image and the values of the conditions.
        """
        return self(*inputs), self.encode(inputs[0], layers)

    def recompute_features(self) -> None:
        """From now on keep few features for the backward pass, and compute the others again when they are needed.

        Raises:
            ValueError: this generator does not know how.
        """
        raise ValueError(f"{type(self).__name__} cannot compute its features again: it has no recompute_features")


class Discriminator(Network):
    """A network from images to a map of logits, B 1 h w, or to a tuple of maps, one for each scale.

    Own ones derive from it to be used in a configuration.
    """

    min_size: int = 1
    """The smallest image side, in pixels, for which no map is empty."""

    n_maps: int = 1
    """How many maps it makes, for where it is one of several discriminators (`DiscriminatorEnsemble`)."""

    map_weights: tuple[float, ...] | None = None
    """How much the losses on each map count; None where all count 1."""

    @property
    def shows_features(self) -> bool:
        """Whether it has `features`."""
        return type(self).features is not Discriminator.features

    def features(self, image: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """For each map what the layers make on the way to it, B C h w, with the map itself as the last.

        Raises:
            ValueError: this discriminator does not show them.
        """
        raise ValueError(f"{type(self).__name__} does not show its features: it has no features(image)")

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile this network in place, as `nn.Module.compile` does, and the pass that shows its features."""
        super().compile(*args, **kwargs)
        if self.shows_features:
            self.features = torch.compile(self.features, *args, **kwargs)  # type: ignore[method-assign]

    def patch_grids(self, height: int, width: int) -> tuple[PatchGrid, ...]:
        """Where the patches of each map lie, for an image of that size in pixels.

        They are computed or measured, and compared with a forward pass. A discriminator whose patches cannot be told in
        this way, because it scales its images to one size for example, overrides this and says it, in pixels of the
        image that it is given.

        Raises:
            ValueError: they cannot be told, or the image is too small.
        """
        return patch_grids(self, height, width)


def recomputed(network: nn.Module, inputs: Any, compute: Callable[[Any], Tensor] | None = None) -> Tensor:
    """The network's output, whose features are not kept but computed again when their gradients are asked for.

    `inputs` is a tensor, or a collection of tensors that `compute` puts through the network.

    The second time draws the same dropout noise, and leaves the running statistics of batch norm as they are, so that
    training is the same as with features kept.

    Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
    """
    compute = compute or network
    if not torch.is_grad_enabled():
        return compute(inputs)
    output = checkpoint(
        compute, inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _statistics_kept(network))
    )
    assert isinstance(output, Tensor)
    return output


def with_gradient(compute: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """The scalar that fixed networks make of an image, with its gradient: it is computed at once and alone is kept.

    What the networks keep for their backward pass is free again before anything else is computed. Only the image gets a
    gradient, which cannot be differentiated again. Under float16, whose gradients need the loss scale of the whole
    loss, the backward pass waits as usual.
    """
    half = torch.is_autocast_enabled(image.device.type) and torch.get_autocast_dtype(image.device.type) == torch.float16
    if half or image.dtype == torch.float16 or not (torch.is_grad_enabled() and image.requires_grad):
        return compute(image)
    value: Tensor = _EarlyGradient.apply(image, compute)
    return value


class _EarlyGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        leaf = image.detach().requires_grad_()
        with torch.enable_grad():
            value = compute(leaf)
        with torch.autocast(image.device.type, enabled=False):
            ctx.save_for_backward(*torch.autograd.grad(value, leaf))
        return value.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (of_image,) = ctx.saved_tensors
        return gradients[0] * of_image, None


@contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    counters = [norm.num_batches_tracked for norm in norms]
    counts = [counter.clone() if counter is not None else None for counter in counters]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, counter, count in zip(norms, momenta, counters, counts, strict=True):
            norm.momentum = momentum
            if counter is not None and count is not None:
                counter.copy_(count)
