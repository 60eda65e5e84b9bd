"""The adversarial objective, for both sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from patchlight.losses import GANLoss, GANMode, Penalty, RelativisticLoss, require_penalisable

AdversarialMode = GANMode | Literal["relativistic"]


class AdversarialLoss(nn.Module):
    """What generators and discriminators minimise of each other: the loss over patch maps, and a critic's penalties.

    A discriminator's loss is half the sum of its real and fake parts; the relativistic one compares real and fake and
    is not halved. `penalties` have names, under which they are logged.

    Raises:
        ValueError: `wgangp` without a penalty, which trains an unconstrained critic (unless `unpenalized_critic` says
            that this is what is wanted), penalties with batch norm in one of the `critics`, or labels where the mode
            has none.

    Source: Isola et al. 2017, section 3.3 (the halving); Gulrajani et al. 2017, algorithm 1 (the penalty).
    """

    def __init__(
        self,
        *,
        gan_mode: AdversarialMode,
        real_label: float,
        fake_label: float,
        penalties: Mapping[str, Penalty] | None,
        unpenalized_critic: bool,
        critics: tuple[nn.Module, ...],
    ) -> None:
        super().__init__()
        self.relativistic: RelativisticLoss | None = None
        self.pointwise: GANLoss | None = None
        if gan_mode == "relativistic":
            if (real_label, fake_label) != (1.0, 0.0):
                raise ValueError("real_label and fake_label have no meaning for gan_mode=relativistic: leave them out")
            self.relativistic = RelativisticLoss()
        else:
            self.pointwise = GANLoss(gan_mode, real_label=real_label, fake_label=fake_label)
        self.boundary = _boundary(gan_mode, (real_label, fake_label))
        """The logit on whose sides real and fake lie; None where logits mean something in comparison only."""
        self.penalties = nn.ModuleDict(penalties)
        if self.penalties:
            for critic in critics:
                require_penalisable(critic)
        elif gan_mode == "wgangp" and not unpenalized_critic:
            raise ValueError(
                "gan_mode=wgangp without a gradient penalty trains an unconstrained critic: choose model/penalty="
                "wgan_gp with model.discriminator.norm=instance (or none), or set model.unpenalized_critic=true to "
                "have it so"
            )

    def generator(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """What the generator minimises: its images, B C H W, are to be taken for real."""
        logits_fake = critic(fake)
        if self.relativistic is not None:
            return self.relativistic(logits_fake, critic(real))  # type: ignore[no-any-return]
        assert self.pointwise is not None
        return self.pointwise(logits_fake, True, for_generator=True)  # type: ignore[no-any-return]

    def discriminator(
        self, critic: nn.Module, real: Tensor, fake: Tensor, *, fake_first: bool, step: int
    ) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """The terms of a discriminator's step with their `total`, and its patch maps of real and fake, detached.

        Real and fake are B C H W images. The terms are `real` and `fake` (relativistic: `pair`), and for each penalty
        that is due its value and its gradient norm, `<name>` and `<name>_norm`. Both go through the discriminator in
        one pass if that makes no difference (`is_batch_independent`); otherwise `fake_first` is the order of the two
        passes, which the running statistics of batch norm remember. `step` counts the discriminator's steps, for the
        penalties' intervals.
        """
        fake = fake.detach()
        if real.shape == fake.shape and is_batch_independent(critic):
            logits_real, logits_fake = critic(torch.cat([real, fake])).chunk(2)
        elif fake_first:
            logits_fake = critic(fake)
            logits_real = critic(real)
        else:
            logits_real = critic(real)
            logits_fake = critic(fake)
        terms = self._compare(logits_real, logits_fake)
        for name, penalty in self.penalties.items():
            assert isinstance(penalty, Penalty)
            if penalty.due(step):
                terms[name], terms[f"{name}_norm"] = penalty(critic, real, fake)
                terms["total"] = terms["total"] + penalty.scale * terms[name]
        return terms, (logits_real.detach(), logits_fake.detach())

    def _compare(self, logits_real: Tensor, logits_fake: Tensor) -> dict[str, Tensor]:
        if self.relativistic is not None:
            pair = self.relativistic(logits_real, logits_fake)
            return {"pair": pair, "total": pair}
        assert self.pointwise is not None
        real, fake = self.pointwise(logits_real, True), self.pointwise(logits_fake, False)
        return {"real": real, "fake": fake, "total": 0.5 * (fake + real)}


def is_batch_independent(network: nn.Module) -> bool:
    """Whether images can share one pass: nothing in it depends on the other images or on earlier passes.

    Batch norm has the statistics of all images of a pass; running statistics and the estimate of spectral norm move
    with every pass; dropout draws other noise for an image that is not alone.
    """
    return not any(
        isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm | nn.Dropout | nn.Dropout2d)
        or (isinstance(module, nn.InstanceNorm2d) and module.track_running_stats)
        or is_parametrized(module)
        for module in network.modules()
    )


def _boundary(gan_mode: AdversarialMode, labels: tuple[float, float]) -> float | None:
    if gan_mode in ("wgangp", "relativistic"):
        return None
    return sum(labels) / 2 if gan_mode == "lsgan" else 0.0
