"""Penalties that keep a critic's gradient in bounds, as terms that can be combined."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from patchlight.losses.adversarial import Prediction
from patchlight.losses.terms import WeightedTerm

PenaltyKind = Literal["mixed", "real", "fake"]

Critic = Callable[[Tensor], Prediction]
"""Images, B C H W, to one map of logits or several."""


def gradient_penalty(
    critic: Critic,
    real: Tensor,
    fake: Tensor,
    kind: PenaltyKind = "mixed",
    constant: float = 1.0,
    weight: float = 10.0,
    alpha: Tensor | None = None,
) -> Tensor:
    """The penalty weight * mean (|grad_x sum D(x)| - constant)^2, a scalar that can be differentiated again.

    `real` and `fake` are (B, C, H, W). `kind` says where x lies: on the straight line between a real and a fake
    image, alpha * real + (1 - alpha) * fake with one `alpha` in [0, 1) per sample (drawn uniformly unless given as
    (B, 1)), or on the real or the fake images themselves. The norm is over all values of one sample. Computed in
    float32 under autocast, since squared gradients overflow half precision.

    Raises:
        ValueError: an unknown kind.

    Source: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", equation 3.
    """
    norms = _norms(_input_gradient(critic, _points(real, fake, kind, alpha)))
    penalty: Tensor = weight * (norms - constant).square().mean()
    return penalty


def _points(real: Tensor, fake: Tensor, kind: PenaltyKind, alpha: Tensor | None = None) -> Tensor:
    """Where the gradient is measured."""
    match kind:
        case "mixed":
            if alpha is None:
                alpha = torch.rand(real.shape[0], 1, device=real.device, dtype=real.dtype)
            mix = alpha.to(real).view(-1, 1, 1, 1)
            return mix * real + (1 - mix) * fake
        case "real":
            return real
        case "fake":
            return fake
    raise ValueError(f"kind must be one of {', '.join(get_args(PenaltyKind))}, got {kind!r}")


def _input_gradient(critic: Critic, points: Tensor) -> Tensor:
    """The gradient of the summed logits with respect to each sample, (B, CHW), in float32 or more."""
    points = points.detach().to(torch.promote_types(points.dtype, torch.float32)).requires_grad_(True)
    with torch.autocast(points.device.type, enabled=False):
        maps = critic(points)
        total = maps.sum() if isinstance(maps, Tensor) else torch.stack([logits.sum() for logits in maps]).sum()
        (gradient,) = torch.autograd.grad(total, points, create_graph=True)
    return gradient.flatten(start_dim=1)


def _norms(gradient: Tensor) -> Tensor:
    # The offset keeps the norm differentiable where the gradient is exactly zero.
    norms: Tensor = (gradient + 1e-16).norm(2, dim=1)
    return norms


class Penalised(NamedTuple):
    """What a penalty measured: its term before the weight, and the mean norm of the gradient, for the record."""

    term: Tensor
    gradient_norm: Tensor


class Penalty(WeightedTerm):
    """A term of a critic's loss: (critic, real, fake) -> its value before the weight.

    Raises:
        ValueError: a weight that is not positive; see `WeightedTerm`.
    """

    def __init__(self, weight: float, interval: int) -> None:
        if weight <= 0:
            raise ValueError(f"weight must be positive, got {weight}")
        super().__init__(weight, interval)

    @abstractmethod
    def forward(self, critic: Critic, real: Tensor, fake: Tensor) -> Penalised:
        """Images B C H W; both values are scalars."""


class GradientPenalty(Penalty):
    """The penalty of WGAN-GP, mean (|grad D(x)| - constant)^2; see `gradient_penalty` for where x lies.

    Raises:
        ValueError: an unknown kind; see `Penalty`.

    Source: Gulrajani et al. 2017, equation 3.
    """

    def __init__(
        self,
        kind: PenaltyKind = "mixed",
        constant: float = 1.0,
        weight: PositiveFloat = 10.0,
        interval: PositiveInt = 1,
    ) -> None:
        super().__init__(weight, interval)
        if kind not in get_args(PenaltyKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(PenaltyKind))}, got {kind!r}")
        self.kind: PenaltyKind = kind
        self.constant = constant

    def forward(self, critic: Critic, real: Tensor, fake: Tensor) -> Penalised:
        norms = _norms(_input_gradient(critic, _points(real, fake, self.kind)))
        return Penalised((norms - self.constant).square().mean(), norms.detach().mean())


class R1(Penalty):
    """The zero-centred penalty on real images, mean |grad D(x)|^2, weighted with gamma / 2.

    Source: Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", equation 9.
    """

    kind: PenaltyKind = "real"

    def __init__(self, gamma: PositiveFloat = 10.0, interval: PositiveInt = 1) -> None:
        super().__init__(gamma / 2, interval)

    def forward(self, critic: Critic, real: Tensor, fake: Tensor) -> Penalised:
        squares = _input_gradient(critic, _points(real, fake, self.kind)).square().sum(dim=1)
        return Penalised(squares.mean(), squares.detach().sqrt().mean())


class R2(R1):
    """The zero-centred penalty on generated images.

    Source: Mescheder et al. 2018, equation 10; Huang et al. 2024, "The GAN is dead; long live the GAN!", for using it
    together with R1.
    """

    kind: PenaltyKind = "fake"


def require_penalisable(critic: nn.Module) -> None:
    """Raise a ValueError if the critic has batch norm, which makes one sample's gradient depend on the others'.

    Source: Gulrajani et al. 2017, section 4, "No critic batch normalization".
    """
    if any(isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm) for module in critic.modules()):
        raise ValueError(
            "penalties cannot be used with batch norm in the discriminator, because they then no longer bound the "
            "gradient of each sample: set model.discriminator.norm=instance (or none)"
        )
