"""pix2pix: one generator learns from pairs, against a discriminator that sees the input beside the output."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from patchlight.losses import GANMode, GradientPenalty
from patchlight.methods.base import Batch, OptimizerFactory, Role, ScheduleFactory, TranslationMethod, frozen
from patchlight.methods.critic import DiscriminatorLoss
from patchlight.methods.inference import InferenceMode, inference
from patchlight.networks import Discriminator, Generator


class Pix2Pix(TranslationMethod):
    """Conditional GAN with an L1 term: minimises GAN(D(A, G(A))) + lambda_l1 |G(A) - B|.

    `generator` maps A to B; `discriminator` reads A and B concatenated along the channels. In each step the
    discriminator moves first, then the generator against the moved discriminator.

    Logged: `g_gan g_l1 d_real d_fake`, the terms before their weights, `d_penalty` where there is one, and
    `g_total d_total`, what was minimised.

    Raises:
        ValueError: see `DiscriminatorLoss`; a negative lambda.

    Source: Isola et al. 2017, equation 4.
    """

    roles = {
        "generator": Role("generator", reads=("A",), writes="B"),
        "discriminator": Role("discriminator", reads=("A", "B")),
    }
    references = {"fake_B": "real_B"}
    gallery = ((("real_A", "input"), ("fake_B", "output"), ("real_B", "target")),)

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        *,
        gan_mode: GANMode = "vanilla",
        real_label: float = 1.0,
        fake_label: float = 0.0,
        lambda_l1: float = 100.0,
        penalty: GradientPenalty | None = None,
        unpenalized_critic: bool = False,
        optimizer: OptimizerFactory | None = None,
        schedule: ScheduleFactory | None = None,
        inference_mode: InferenceMode = "paper",
    ) -> None:
        super().__init__(optimizer=optimizer, schedule=schedule, inference_mode=inference_mode)
        if lambda_l1 < 0:
            raise ValueError(f"lambda_l1 must not be negative, got {lambda_l1}")
        self.generator = generator
        self.discriminator = discriminator
        self.lambda_l1 = lambda_l1
        self.adversarial = DiscriminatorLoss(
            gan_mode=gan_mode,
            real_label=real_label,
            fake_label=fake_label,
            penalty=penalty,
            unpenalized_critic=unpenalized_critic,
            critics=self.discriminators,
        )

    @property
    def generators(self) -> tuple[Generator, ...]:
        return (self.generator,)

    @property
    def discriminators(self) -> tuple[Discriminator, ...]:
        return (self.discriminator,)

    def optimise(self, batch: Batch) -> dict[str, Tensor]:
        real_A, real_B = batch["A"], batch["B"]
        optimizer_g, optimizer_d = self.gan_optimizers()
        fake_B = self.generator(real_A)
        real_AB, fake_AB = torch.cat([real_A, real_B], dim=1), torch.cat([real_A, fake_B], dim=1)

        d = self.adversarial.discriminator(self.discriminator, real_AB, fake_AB, fake_first=True)
        self.minimise(d["total"], optimizer_d)

        with frozen(self.discriminator):
            g_gan = self.adversarial.generator(self.discriminator(fake_AB))
            g_l1 = F.l1_loss(fake_B, real_B)
            g_total = g_gan + self.lambda_l1 * g_l1
            self.minimise(g_total, optimizer_g)
        return {"g_gan": g_gan, "g_l1": g_l1, "g_total": g_total} | {f"d_{name}": term for name, term in d.items()}

    def translate(self, batch: Batch, noise_seed: int = 0) -> dict[str, Tensor]:
        with inference(self.generator, mode=self.inference_mode, noise_seed=noise_seed):
            return {"real_A": batch["A"], "fake_B": self.generator(batch["A"]), "real_B": batch["B"]}
