"""Penalties that keep a critic's gradient in bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

PenaltyKind = Literal["mixed", "real", "fake"]

Critic = Callable[[Tensor], Tensor]


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
    match kind:
        case "mixed":
            if alpha is None:
                alpha = torch.rand(real.shape[0], 1, device=real.device, dtype=real.dtype)
            mix = alpha.to(real).view(-1, 1, 1, 1)
            points = mix * real + (1 - mix) * fake
        case "real":
            points = real
        case "fake":
            points = fake
        case _:
            raise ValueError(f"kind must be one of {', '.join(get_args(PenaltyKind))}, got {kind!r}")
    points = points.detach().to(torch.promote_types(points.dtype, torch.float32)).requires_grad_(True)
    with torch.autocast(points.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
        # The offset keeps the norm differentiable where the gradient is exactly zero.
        norms: Tensor = (gradient.flatten(start_dim=1) + 1e-16).norm(2, dim=1)
        penalty: Tensor = weight * (norms - constant).square().mean()
    return penalty


class GradientPenalty(nn.Module):
    """`gradient_penalty` with its settings, as a term of a discriminator's loss: (critic, real, fake) -> scalar.

    Raises:
        ValueError: an unknown kind, or a weight that is not positive.
    """

    def __init__(self, kind: PenaltyKind = "mixed", constant: float = 1.0, weight: float = 10.0) -> None:
        super().__init__()
        if kind not in get_args(PenaltyKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(PenaltyKind))}, got {kind!r}")
        if weight <= 0:
            raise ValueError(f"weight must be positive, got {weight}")
        self.kind: PenaltyKind = kind
        self.constant = constant
        self.weight = weight

    def forward(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        return gradient_penalty(critic, real, fake, kind=self.kind, constant=self.constant, weight=self.weight)


def require_penalisable(critic: nn.Module) -> None:
    """Raise a ValueError if the critic has batch norm, which makes one sample's gradient depend on the others'.

    Source: Gulrajani et al. 2017, section 4, "No critic batch normalization".
    """
    if any(isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm) for module in critic.modules()):
        raise ValueError(
            "penalty cannot be used with batch norm in the discriminator, because it then no longer bounds the "
            "gradient of each sample: set model.discriminator.norm=instance (or none)"
        )
