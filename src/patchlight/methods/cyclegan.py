"""CycleGAN: two generators learn from unpaired images, held together by cycles."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from patchlight.losses import GANMode, GradientPenalty
from patchlight.methods.base import Batch, OptimizerFactory, Role, ScheduleFactory, TranslationMethod, frozen
from patchlight.methods.critic import DiscriminatorLoss
from patchlight.methods.image_pool import ImagePool
from patchlight.methods.inference import InferenceMode, inference
from patchlight.networks import Discriminator, Generator


class CycleGAN(TranslationMethod):
    """Two translations and their cycles, each judged in its own domain.

    `generator_ab` maps A to B and `generator_ba` B to A; `discriminator_a` judges images of domain A and
    `discriminator_b` of domain B. In each step both generators move first, then both discriminators, which learn from
    the image pools.

    Logged, before their weights: `g_gan_ab g_gan_ba`; `cycle_a` = |G_ba(G_ab(A)) - A| and `cycle_b`;
    `identity_a` = |G_ba(A) - A|, the identity term of domain A, and `identity_b` = |G_ab(B) - B|; `d_a d_b`, each half
    the sum of its real and fake parts; and `g_total d_total`, what was minimised. The identity terms weigh
    lambda_identity times their domain's lambda and are not computed for 0.

    Raises:
        ValueError: see `DiscriminatorLoss`; a negative lambda.

    Source: Zhu et al. 2017, equation 3; section 5.2 for the identity loss.
    """

    roles = {
        "generator_ab": Role("generator", reads=("A",), writes="B"),
        "generator_ba": Role("generator", reads=("B",), writes="A"),
        "discriminator_a": Role("discriminator", reads=("A",)),
        "discriminator_b": Role("discriminator", reads=("B",)),
    }
    references = {"rec_A": "real_A", "rec_B": "real_B"}
    gallery = (
        (("real_A", "input A"), ("fake_B", "output B"), ("rec_A", "reconstruction")),
        (("real_B", "input B"), ("fake_A", "output A"), ("rec_B", "reconstruction")),
    )

    def __init__(
        self,
        generator_ab: Generator,
        generator_ba: Generator,
        discriminator_a: Discriminator,
        discriminator_b: Discriminator,
        *,
        gan_mode: GANMode = "lsgan",
        real_label: float = 1.0,
        fake_label: float = 0.0,
        lambda_a: float = 10.0,
        lambda_b: float = 10.0,
        lambda_identity: float = 0.5,
        pool_size: int = 50,
        pool_seed: int = 0,
        penalty: GradientPenalty | None = None,
        unpenalized_critic: bool = False,
        optimizer: OptimizerFactory | None = None,
        schedule: ScheduleFactory | None = None,
        inference_mode: InferenceMode = "eval",
    ) -> None:
        super().__init__(optimizer=optimizer, schedule=schedule, inference_mode=inference_mode)
        for name, value in (("lambda_a", lambda_a), ("lambda_b", lambda_b), ("lambda_identity", lambda_identity)):
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        self.generator_ab = generator_ab
        self.generator_ba = generator_ba
        self.discriminator_a = discriminator_a
        self.discriminator_b = discriminator_b
        self.lambda_a = lambda_a
        self.lambda_b = lambda_b
        self.lambda_identity = lambda_identity
        self.pool_a = ImagePool(pool_size, seed=2 * pool_seed)
        self.pool_b = ImagePool(pool_size, seed=2 * pool_seed + 1)
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
        return self.generator_ab, self.generator_ba

    @property
    def discriminators(self) -> tuple[Discriminator, ...]:
        # In this order the parameters lie in the optimizer as in the reference code's, D_A (which judges B) first.
        return self.discriminator_b, self.discriminator_a

    def optimise(self, batch: Batch) -> dict[str, Tensor]:
        real_A, real_B = batch["A"], batch["B"]
        optimizer_g, optimizer_d = self.gan_optimizers()
        fake_B = self.generator_ab(real_A)
        rec_A = self.generator_ba(fake_B)
        fake_A = self.generator_ba(real_B)
        rec_B = self.generator_ab(fake_A)

        terms = self._identity_terms(real_A, real_B)
        with frozen(*self.discriminators):
            terms["g_gan_ab"] = self.adversarial.generator(self.discriminator_b(fake_B))
            terms["g_gan_ba"] = self.adversarial.generator(self.discriminator_a(fake_A))
            terms["cycle_a"] = F.l1_loss(rec_A, real_A)
            terms["cycle_b"] = F.l1_loss(rec_B, real_B)
            terms["g_total"] = (
                terms["g_gan_ab"]
                + terms["g_gan_ba"]
                + self.lambda_a * (terms["cycle_a"] + self.lambda_identity * terms["identity_a"])
                + self.lambda_b * (terms["cycle_b"] + self.lambda_identity * terms["identity_b"])
            )
            self.minimise(terms["g_total"], optimizer_g)

        # Each has its backward pass before the other's forward: only one set of activations is in memory at a time.
        optimizer_d.zero_grad(set_to_none=True)
        d_b = self.adversarial.discriminator(self.discriminator_b, real_B, self.pool_b.query(fake_B), fake_first=False)
        self.manual_backward(d_b["total"])
        d_a = self.adversarial.discriminator(self.discriminator_a, real_A, self.pool_a.query(fake_A), fake_first=False)
        self.manual_backward(d_a["total"])
        self.apply_gradients(optimizer_d)
        terms["d_total"] = d_a["total"].detach() + d_b["total"].detach()
        for name, d in (("a", d_a), ("b", d_b)):
            terms[f"d_{name}"] = 0.5 * (d["real"] + d["fake"])
            if "penalty" in d:
                terms[f"d_penalty_{name}"] = d["penalty"]
        return terms

    def _identity_terms(self, real_A: Tensor, real_B: Tensor) -> dict[str, Tensor]:
        if self.lambda_identity == 0:
            return {"identity_a": real_A.new_zeros(()), "identity_b": real_B.new_zeros(())}
        identity_b = F.l1_loss(self.generator_ab(real_B), real_B)
        identity_a = F.l1_loss(self.generator_ba(real_A), real_A)
        return {"identity_a": identity_a, "identity_b": identity_b}

    def translate(self, batch: Batch, noise_seed: int = 0) -> dict[str, Tensor]:
        real_A, real_B = batch["A"], batch["B"]
        with inference(*self.generators, mode=self.inference_mode, noise_seed=noise_seed):
            fake_B, fake_A = self.generator_ab(real_A), self.generator_ba(real_B)
            rec_A, rec_B = self.generator_ba(fake_B), self.generator_ab(fake_A)
        return {
            "real_A": real_A, "fake_B": fake_B, "rec_A": rec_A,
            "real_B": real_B, "fake_A": fake_A, "rec_B": rec_B,
        }  # fmt: skip

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["image_pools"] = {"a": self.pool_a.state_dict(), "b": self.pool_b.state_dict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.pool_a.load_state_dict(checkpoint["image_pools"]["a"])
        self.pool_b.load_state_dict(checkpoint["image_pools"]["b"])
