"""What a discriminator minimises: half the sum of its real and fake parts, and a penalty where the loss needs one."""

from __future__ import annotations

from torch import Tensor, nn

from patchlight.losses import GANLoss, GANMode, GradientPenalty, require_penalisable


class DiscriminatorLoss(nn.Module):
    """The adversarial objective of a method, for both sides.

    Raises:
        ValueError: `wgangp` without a penalty, which trains an unconstrained critic (unless `unpenalized_critic` says
            that this is what is wanted), or a penalty with batch norm in one of the `critics`.

    Source: Isola et al. 2017, section 3.3 (the halving); Gulrajani et al. 2017, algorithm 1 (the penalty).
    """

    def __init__(
        self,
        *,
        gan_mode: GANMode,
        real_label: float,
        fake_label: float,
        penalty: GradientPenalty | None,
        unpenalized_critic: bool,
        critics: tuple[nn.Module, ...],
    ) -> None:
        super().__init__()
        self.gan_loss = GANLoss(gan_mode, real_label=real_label, fake_label=fake_label)
        self.penalty = penalty
        if penalty is not None:
            for critic in critics:
                require_penalisable(critic)
        elif gan_mode == "wgangp" and not unpenalized_critic:
            raise ValueError(
                "gan_mode=wgangp without a gradient penalty trains an unconstrained critic: choose model/penalty="
                "wgan_gp with model.discriminator.norm=instance (or none), or set model.unpenalized_critic=true to "
                "have it so"
            )

    def generator(self, logits_fake: Tensor) -> Tensor:
        """What the generator minimises: its images are to be taken for real."""
        return self.gan_loss(logits_fake, True, for_generator=True)  # type: ignore[no-any-return]

    def discriminator(self, critic: nn.Module, real: Tensor, fake: Tensor, *, fake_first: bool) -> dict[str, Tensor]:
        """The terms `real`, `fake`, `penalty` (if any) and their `total`; real and fake are B C H W images.

        `fake_first` is the order of the two passes, which the running statistics of batch norm remember.
        """
        fake = fake.detach()
        if fake_first:
            logits_fake = critic(fake)
            logits_real = critic(real)
        else:
            logits_real = critic(real)
            logits_fake = critic(fake)
        terms: dict[str, Tensor] = {
            "real": self.gan_loss(logits_real, True),
            "fake": self.gan_loss(logits_fake, False),
        }
        terms["total"] = 0.5 * (terms["fake"] + terms["real"])
        if self.penalty is not None:
            terms["penalty"] = self.penalty(critic, real, fake)
            terms["total"] = terms["total"] + terms["penalty"]
        return terms
